"""Embeds images and sounds with the towers of a release, without Earshot: by torch, torchaudio and timm.

    towers = Towers("FOLDER")
    images = towers.embed_images(["tile.jpg"])
    sounds = towers.embed_sounds([(waveform, 44_100), "recording.wav"])

It prepares inputs as `preprocessing` in `config.json` says. Recordings at another sampling rate are resampled by
torchaudio, where Earshot uses soxr; GeoTIFFs, sounds of opposite phase and recordings of more than ten minutes, which
Earshot treats in ways of their own, are not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchaudio
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

CROPS = 10
MOST_CHANNELS = 64
"""With more, samples and channels are taken to be the wrong way round."""
FRAMES_AT_ONCE = 2048


class Towers(nn.Module):
    """The image tower and the sound tower, in evaluation mode.

    Args:
        folder: the release.
        crops: evenly spaced crops of a sound whose embeddings are averaged.
    """

    def __init__(self, folder: str | Path, crops: int = CROPS) -> None:
        super().__init__()
        folder = Path(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.image: dict[str, Any] = config["preprocessing"]["image"]
        self.sound: dict[str, Any] = config["preprocessing"]["sound"]
        self.embedding: dict[str, Any] = config["preprocessing"]["embedding"]
        self.crops = crops
        weights = load_file(folder / "model.safetensors")
        for modality in ("image", "sound"):
            encoder = timm.create_model(f"local-dir:{folder / f'{modality}-encoder-timm'}", pretrained=True)
            self.add_module(f"{modality}_encoder", encoder)
            self.add_module(f"{modality}_projection", _projection(weights, f"{modality}_tower.projection."))
        self.image_mean: Tensor
        self.image_std: Tensor
        self.filters: Tensor
        self.window: Tensor
        self.register_buffer("image_mean", torch.tensor(self.image["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(self.image["std"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("filters", _mel_filters(self.sound), persistent=False)
        self.register_buffer("window", _window(self.sound), persistent=False)
        self.eval()

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(n, 3, s, s) uint8 from `image_pixels` → (n, d)."""
        return self._project("image", (pixels.float() / 255 - self.image_mean) / self.image_std)

    def encode_sound(self, spectrograms: Tensor) -> Tensor:
        """(n, 1, mel bands, frames) uint8 from `sound_crops` → (n, d)."""
        values = (spectrograms.float() - self.sound["mean"]) / self.sound["std"]
        return self._project("sound", F.avg_pool2d(values, self.sound["average_pooling_after"]))

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Any]) -> Tensor:
        """Paths, PIL images or (height, width, 3) uint8 arrays → (n, d)."""
        images = [images] if isinstance(images, str | Path | Image.Image) else images
        pixels = torch.stack([self.image_pixels(image) for image in images])
        return self.encode_image(pixels.to(self.window.device)).cpu()

    @torch.inference_mode()
    def embed_sounds(self, sounds: Sequence[Any]) -> Tensor:
        """Paths, or (waveform, sampling rate in Hz) as in `sound_crops` → (n, d), means over each sound's crops."""
        sounds = [sounds] if isinstance(sounds, str | Path) else sounds
        crops = [self.sound_crops(*(_read(sound) if isinstance(sound, str | Path) else sound)) for sound in sounds]
        return self.mean_of_crops(self.encode_sound(torch.cat(crops).to(self.window.device)), [*map(len, crops)]).cpu()

    @staticmethod
    def mean_of_crops(embeddings: Tensor, counts: Sequence[int]) -> Tensor:
        """(m, d) embeddings of crops, grouped by sound → (n, d)."""
        return torch.stack([part.mean(0) for part in embeddings.split(list(counts))])

    def image_pixels(self, image: Any) -> Tensor:
        """A path, a PIL image or a (height, width, 3) uint8 array → (3, s, s) uint8: the central part, resized."""
        if isinstance(image, str | Path):
            image = Image.open(image)
        if isinstance(image, Image.Image):
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image.convert("RGBA"))
            image = np.array(image.convert("RGB"))
        pixels = torch.as_tensor(np.array(image))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != torch.uint8:
            raise TypeError(f"an image is (height, width, 3) uint8, got {tuple(pixels.shape)} {pixels.dtype}")
        side = min(pixels.shape[:2])
        if side > self.image["whole_up_to_pixels"]:
            side //= 2
        pixels = _centre(pixels, side)
        pixels = _centre(pixels, max(1, round(self.image["central_fraction_of_shorter_side"] * side)))
        return _resized(pixels.permute(2, 0, 1), self.image["resize_to_pixels"][0])

    def sound_crops(self, waveform: Any, sample_rate_hz: int) -> Tensor:
        """A waveform → up to `crops` crops of its spectrogram, (k, 1, mel bands, frames) uint8.

        Args:
            waveform: (n,), an array (n, channels) as soundfile reads it, or a tensor (channels, n) as torchaudio reads
                it; floats of full scale ±1, int16 or int32.
            sample_rate_hz: of the waveform.
        """
        samples = _mono(waveform)
        rate = self.sound["sample_rate_hz"]
        if sample_rate_hz != rate:
            samples = torchaudio.functional.resample(samples, int(sample_rate_hz), rate)
        spectrogram, frames = self._spectrogram(samples), self.sound["num_frames"]
        if spectrogram.shape[1] < frames:
            spectrogram = spectrogram[:, torch.arange(frames) % spectrogram.shape[1]]
        last = spectrogram.shape[1] - frames
        starts = {last // 2} if self.crops == 1 else {round(start) for start in np.linspace(0, last, self.crops)}
        return torch.stack([spectrogram[None, :, start : start + frames] for start in sorted(starts)])

    def _spectrogram(self, samples: Tensor) -> Tensor:
        """(n,) → (mel bands, frames) uint8."""
        sound, size = self.sound, len(self.window)
        if sound["padding"] == "reflection":
            samples = F.pad(samples[None, None], (size // 2, size // 2), mode="reflect")[0, 0]
        if len(samples) < size:
            raise ValueError(f"a sound needs at least {size} samples at {sound['sample_rate_hz']} Hz")
        window, filters = self.window.cpu(), self.filters.cpu()
        smallest = sound["smallest_power"] or float(np.finfo(np.float32).tiny)
        low, high = sound["byte_0_stands_for"], sound["byte_255_stands_for"]
        parts = []
        for frames in samples.double().unfold(0, size, sound["hop_samples"]).split(FRAMES_AT_ONCE):
            power = torch.fft.rfft(frames * window).abs() ** sound["power"] @ filters + sound["added_power"]
            values = power.clamp_min(smallest).log()
            parts.append(((values - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8))
        return torch.cat(parts).T

    def _project(self, modality: str, inputs: Tensor) -> Tensor:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        features = self.get_submodule(f"{modality}_encoder")(inputs)
        embeddings = self.get_submodule(f"{modality}_projection")(features)
        length = self.embedding["length"]
        return embeddings if length is None else length * F.normalize(embeddings, dim=1)


def _projection(weights: dict[str, Tensor], prefix: str) -> nn.Module:
    state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if "weight" in state:
        projection: nn.Module = nn.Linear(state["weight"].shape[1], state["weight"].shape[0])
    else:
        hidden, features = state["0.weight"].shape
        projection = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, len(state["2.bias"])))
    projection.load_state_dict(state)
    return projection


def _window(sound: dict[str, Any]) -> Tensor:
    """The window, padded to the length of the Fourier transform."""
    if sound["pre_emphasis"] or "periodic Hann" not in (sound["window"] or ""):
        raise ValueError("these spectrograms are computed by Earshot alone")
    window = torch.hann_window(sound["window_samples"], dtype=torch.float64)
    if "divided by its sum" in sound["window"]:
        window = window / window.sum()
    missing = sound["fft_samples"] - len(window)
    return F.pad(window, (missing // 2, missing - missing // 2))


def _mel_filters(sound: dict[str, Any]) -> Tensor:
    """(bins, mel bands) float64."""
    if sound["mel_scale"] != "slaney":
        raise ValueError("these spectrograms are computed by Earshot alone")
    filters: Tensor = torchaudio.functional.melscale_fbanks(
        sound["fft_samples"] // 2 + 1,
        sound["mel_low_hz"],
        sound["mel_high_hz"],
        sound["mel_bands"],
        sound["sample_rate_hz"],
        norm="slaney" if "area 1" in sound["mel_filters"] else None,
        mel_scale="slaney",
    )
    return filters.double()


def _mono(waveform: Any) -> Tensor:
    """(n,) float32 of full scale ±1, the mean over the channels."""
    samples = torch.as_tensor(waveform if isinstance(waveform, Tensor) else np.array(waveform))
    if samples.ndim == 2:
        channels = 0 if isinstance(waveform, Tensor) else 1
        if samples.shape[channels] > MOST_CHANNELS:
            raise ValueError(
                f"a waveform has shape {tuple(samples.shape)}, but an array must be (samples,) or (samples, channels), "
                f"a tensor (samples,) or (channels, samples), with at most {MOST_CHANNELS} channels"
            )
    elif samples.ndim != 1:
        raise ValueError(f"a waveform must have one or two dimensions, got shape {tuple(samples.shape)}")
    if samples.dtype in (torch.int16, torch.int32):
        samples = samples.float() / (torch.iinfo(samples.dtype).max + 1)
    elif not samples.is_floating_point():
        raise TypeError(f"a waveform must be of floats of full scale 1, int16 or int32, got {samples.dtype}")
    samples = samples.float()
    return samples.mean(channels) if samples.ndim == 2 else samples


def _read(path: str | Path) -> tuple[np.ndarray, int]:
    import soundfile

    return soundfile.read(path, dtype="float32", always_2d=True)


def _centre(pixels: Tensor, side: int) -> Tensor:
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def _resized(pixels: Tensor, size: int) -> Tensor:
    """(3, side, side) → (3, size, size) uint8: by area, or bilinear where it is enlarged."""
    side = pixels.shape[1]
    if side < size:
        large = F.interpolate(pixels[None].float(), (size, size), mode="bilinear", align_corners=False)[0]
    else:
        edges = torch.arange(size + 1, dtype=torch.float64) * side / size
        starts = torch.arange(side, dtype=torch.float64)
        covered = torch.minimum(edges[1:, None], starts + 1) - torch.maximum(edges[:-1, None], starts)
        shares = (covered.clamp_min(0) * size / side).float()
        large = shares @ pixels.float() @ shares.T
    return large.round().clamp(0, 255).to(torch.uint8)
