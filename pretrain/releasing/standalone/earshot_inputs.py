"""Image and sound files as the inputs of a release's ONNX files, without Earshot and without torch.

    inputs = Inputs("FOLDER")
    pixels = inputs.image("tile.jpg")
    crops = inputs.sound("recording.wav")

It needs NumPy, Pillow, soundfile and, for recordings at another sampling rate, soxr, and prepares inputs as
`preprocessing` in `config.json` says. GeoTIFFs, sounds of opposite phase and recordings of more than ten minutes, which
Earshot treats in ways of their own, are not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

CROPS = 10
FRAMES_AT_ONCE = 2048


class Inputs:
    """Prepares files for the towers of a release.

    Args:
        folder: the release.
        crops: evenly spaced crops of a sound, whose embeddings are to be averaged.
    """

    def __init__(self, folder: str | Path, crops: int = CROPS) -> None:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        self._image: dict[str, Any] = config["preprocessing"]["image"]
        self._sound: dict[str, Any] = config["preprocessing"]["sound"]
        self._crops = crops

    def image(self, path: str | Path) -> NDArray[np.uint8]:
        """The image tower's input: (1, 3, s, s) uint8, the central part of a picture, resized."""
        image = ImageOps.exif_transpose(Image.open(path))
        if image.has_transparency_data:
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, image.convert("RGBA"))
        pixels = np.asarray(image.convert("RGB"))
        side = min(pixels.shape[:2])
        if side > self._image["whole_up_to_pixels"]:
            side //= 2
        pixels = _centre(pixels, side)
        pixels = _centre(pixels, max(1, round(self._image["central_fraction_of_shorter_side"] * side)))
        shares = _shares(len(pixels), self._image["resize_to_pixels"][0])
        channels = shares @ pixels.transpose(2, 0, 1).astype(np.float32) @ shares.T
        return channels.round().clip(0, 255).astype(np.uint8)[None]

    def sound(self, path: str | Path) -> NDArray[np.uint8]:
        """The sound tower's inputs: crops of a recording's spectrogram, (k, 1, mel bands, frames) uint8, k ≤ `crops`.

        Raises:
            ValueError: Earshot alone computes such spectrograms, or the recording is too short.
        """
        import soundfile

        window, filters = _window(self._sound), _mel_filters(self._sound)
        waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
        samples = waveform.mean(axis=1)
        if rate != self._sound["sample_rate_hz"]:
            import soxr

            samples = soxr.resample(samples, rate, self._sound["sample_rate_hz"])
        spectrogram, frames = self._spectrogram(samples, window, filters), self._sound["num_frames"]
        if spectrogram.shape[1] < frames:
            spectrogram = spectrogram[:, np.arange(frames) % spectrogram.shape[1]]
        last = spectrogram.shape[1] - frames
        starts = {last // 2} if self._crops == 1 else {round(start) for start in np.linspace(0, last, self._crops)}
        return np.stack([spectrogram[None, :, start : start + frames] for start in sorted(starts)])

    def _spectrogram(
        self, samples: NDArray[np.float32], window: NDArray[np.float64], filters: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """(n,) → (mel bands, frames)."""
        sound, size = self._sound, len(window)
        if sound["padding"] == "reflection":
            samples = np.pad(samples, size // 2, mode="reflect")
        if len(samples) < size:
            raise ValueError(f"a sound needs at least {size} samples at {sound['sample_rate_hz']} Hz")
        smallest = sound["smallest_power"] or float(np.finfo(np.float32).tiny)
        low, high = sound["byte_0_stands_for"], sound["byte_255_stands_for"]
        frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: sound["hop_samples"]]
        parts = []
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            spectrum = np.fft.rfft(frames[start : start + FRAMES_AT_ONCE] * window)
            power = np.abs(spectrum) ** sound["power"] @ filters + sound["added_power"]
            values = np.log(np.maximum(power, smallest))
            parts.append(((values - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8))
        return np.concatenate(parts).T


def _centre(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def _shares(side: int, size: int) -> NDArray[np.float32]:
    """What each of `side` pixels adds to each of `size`: by area, or bilinear where they are more."""
    if side < size:
        places = ((np.arange(size) + 0.5) * side / size - 0.5).clip(0, side - 1)
        return (1 - np.abs(places[:, None] - np.arange(side))).clip(0).astype(np.float32)
    edges, starts = np.arange(size + 1) * side / size, np.arange(side)
    covered = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return (covered.clip(0) * size / side).astype(np.float32)


def _window(sound: dict[str, Any]) -> NDArray[np.float64]:
    """The window, padded to the length of the Fourier transform."""
    if sound["pre_emphasis"] or "periodic Hann" not in (sound["window"] or ""):
        raise ValueError("these spectrograms are computed by Earshot alone")
    window = np.hanning(sound["window_samples"] + 1)[:-1]
    if "divided by its sum" in sound["window"]:
        window = window / window.sum()
    missing = sound["fft_samples"] - len(window)
    return np.pad(window, (missing // 2, missing - missing // 2))


def _mel_filters(sound: dict[str, Any]) -> NDArray[np.float64]:
    """(bins, mel bands): triangles that are evenly spaced on Slaney's mel scale, linear below 1,000 Hz."""
    if sound["mel_scale"] != "slaney":
        raise ValueError("these spectrograms are computed by Earshot alone")
    low, high = (_mel(sound[name]) for name in ("mel_low_hz", "mel_high_hz"))
    mels = np.linspace(low, high, sound["mel_bands"] + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, sound["sample_rate_hz"] / 2, sound["fft_samples"] // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.minimum(rising, falling).clip(0)
    return filters * (2 / (edges[2:] - edges[:-2])) if "area 1" in sound["mel_filters"] else filters


def _mel(hertz: float) -> float:
    return float(hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4))
