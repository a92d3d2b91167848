"""Computes log-mel spectrograms from waveforms as a stream, so that recordings can be of any length."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from shards.schema import MIN_FRAMES, SpectrogramScale, SpectrogramSettings

FRAMES_PER_BATCH = 64
"""Frames transformed together; fixed, so that the result is bit-identical however the caller cuts the waveform."""

BANDS_PER_GROUP = 16
"""Bands per matrix product, which covers only their bins; a product this small runs on one BLAS thread. With all bands
in one product, BLAS started threads for each batch: decoding two hours on two busy cores took 73 s of processor time
instead of 10 s."""

SMALLEST_POWER = float(np.finfo(np.float32).tiny)
"""Lower bound on the power before the logarithm; far below the value of byte 0."""


class SpectrogramStream:
    """Computes the frames of a stored spectrogram from a waveform that arrives in pieces.

    Frame t covers samples [t · hop, t · hop + window) of the waveform, without padding: n ≥ window samples give
    1 + (n − window) // hop frames, fewer give none. The result is bit-identical however the waveform is cut, because
    frames are transformed in batches of `FRAMES_PER_BATCH` counted from the start, in float64.

    A frame is the squared magnitude of the Fourier transform under a periodic Hann window, divided by the squared sum
    of the window (a constant signal of 1 has power 1 in the lowest bin, a full-scale sine 1/4 in its own), summed
    over triangular mel bands of peak 1 from 0 Hz to half the sampling rate. Its natural logarithm is stored as a byte
    on `settings.scale`.

    Source: SoundingEarth (Heidler et al., arXiv 2108.00688), section IV-A; window and hop, which that paper does not
    state, from ADVANCE (Hu et al., arXiv 2005.08449).

    Args:
        settings: sampling rate (Hz), window and hop (samples), mel bands and byte scale; none of them None.

    Raises:
        ValueError: a setting is None (not published), or the mel scale or the byte scale is not supported.
    """

    def __init__(self, settings: SpectrogramSettings) -> None:
        if settings.sample_rate_hz is None or settings.window_samples is None or settings.hop_samples is None:
            raise ValueError(f"a spectrogram needs sampling rate, window and hop, got {settings}")
        if settings.mel_scale != "slaney":
            raise ValueError(f"mel_scale must be 'slaney', got {settings.mel_scale!r}")
        if settings.scale.name != "log-mel":
            raise ValueError(f"scale must be 'log-mel', got {settings.scale.name!r}")
        if settings.is_centred:
            raise ValueError("is_centred must be False; `shards.decoding.mel_stream` computes centred frames")
        self._window_samples = settings.window_samples
        self._hop_samples = settings.hop_samples
        self._scale = settings.scale
        window = hann_window(settings.window_samples)
        self._window = window / window.sum()
        self._mel_bands = settings.mel_bands
        self._mel_groups = _mel_groups(settings.sample_rate_hz, settings.window_samples, settings.mel_bands)
        self._pieces: list[npt.NDArray[np.float32]] = []
        self._num_pending = 0

    @property
    def min_samples(self) -> int:
        """The shortest waveform that has a frame."""
        return self._window_samples

    def push(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Adds samples and returns the frames of all batches that are now complete.

        Args:
            waveform: float32 of shape (n,), full scale ±1; any n ≥ 0.

        Returns:
            uint8 of shape (mel bands, frames), Fortran order; often without frames.
        """
        self._pieces.append(np.array(waveform, dtype=np.float32))
        self._num_pending += len(waveform)
        batch_hop = FRAMES_PER_BATCH * self._hop_samples
        batch_samples = batch_hop - self._hop_samples + self._window_samples
        if self._num_pending < max(batch_samples, batch_hop):
            return self._stack([])
        pending = np.concatenate(self._pieces)
        batches, start = [], 0
        while len(pending) - start >= max(batch_samples, batch_hop):
            batches.append(self._transform(pending[start : start + batch_samples]))
            start += batch_hop
        self._pieces, self._num_pending = [pending[start:].copy()], len(pending) - start
        return self._stack(batches)

    def finish(self) -> npt.NDArray[np.uint8]:
        """Returns the remaining frames, uint8 of shape (mel bands, frames), and resets the stream."""
        pending = np.concatenate(self._pieces) if self._pieces else np.empty(0, np.float32)
        self._pieces, self._num_pending = [], 0
        num_frames = 1 + (len(pending) - self._window_samples) // self._hop_samples
        if num_frames <= 0:
            return self._stack([])
        batch_samples = (FRAMES_PER_BATCH - 1) * self._hop_samples + self._window_samples
        padded = np.zeros(max(batch_samples, len(pending)), np.float32)
        padded[: len(pending)] = pending
        return self._stack([self._transform(padded[:batch_samples])[:num_frames]])

    def _transform(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Transforms the samples of one batch to uint8 of shape (FRAMES_PER_BATCH, mel bands)."""
        frames = np.lib.stride_tricks.sliding_window_view(waveform, self._window_samples)[:: self._hop_samples]
        spectrum = scipy.fft.rfft(frames * self._window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        mel_power = np.empty((len(power), self._mel_bands))
        for bands, bins, weights in self._mel_groups:
            mel_power[:, bands] = power[:, bins] @ weights
        return encode_scale(np.log(np.maximum(mel_power, SMALLEST_POWER)), self._scale)

    def _stack(self, batches: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        empty = np.empty((0, self._mel_bands), np.uint8)
        return np.concatenate([empty, *batches]).T


def hann_window(window_samples: int) -> npt.NDArray[np.float64]:
    """The periodic Hann window, float64 of shape (window_samples,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / window_samples)


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, window_samples: int, mel_bands: int) -> npt.NDArray[np.float64]:
    """Triangular filters on Slaney's mel scale from 0 Hz to half the sampling rate, each with peak 1.

    Slaney's scale is linear below 1 kHz (3 mel per 200 Hz) and logarithmic above (27 mel per factor of 6.4).

    Returns:
        float64 of shape (window_samples // 2 + 1, mel_bands), read-only: the weight of each frequency bin in each band.
        Source: Slaney, Auditory Toolbox, Interval Research technical report 1998-010.
    """
    linear_top_mel, log_step = 15.0, np.log(6.4) / 27.0
    top_hz = sample_rate_hz / 2
    top_mel = linear_top_mel + np.log(top_hz / 1000.0) / log_step if top_hz >= 1000.0 else top_hz * 3.0 / 200.0
    mels = np.linspace(0.0, top_mel, mel_bands + 2)
    edges_hz = np.where(mels < linear_top_mel, mels * 200.0 / 3.0, 1000.0 * np.exp(log_step * (mels - linear_top_mel)))
    bins_hz = np.arange(window_samples // 2 + 1)[:, None] * sample_rate_hz / window_samples
    rising = (bins_hz - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - bins_hz) / np.diff(edges_hz)[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=8)
def _mel_groups(
    sample_rate_hz: int, window_samples: int, mel_bands: int
) -> list[tuple[slice, slice, npt.NDArray[np.float64]]]:
    """The filters in groups of neighbouring bands: (bands, the bins they cover, the weights of these bins)."""
    filters = mel_filters(sample_rate_hz, window_samples, mel_bands)
    groups = []
    for first in range(0, mel_bands, BANDS_PER_GROUP):
        bands = slice(first, min(first + BANDS_PER_GROUP, mel_bands))
        covered = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(int(covered[0]), int(covered[-1]) + 1) if len(covered) else slice(0, 0)
        groups.append((bands, bins, np.ascontiguousarray(filters[bins, bands])))
    return groups


def encode_scale(values: npt.NDArray[np.floating], scale: SpectrogramScale) -> npt.NDArray[np.uint8]:
    """Encodes values as bytes on `scale`, in the same shape; values outside the scale become 0 or 255."""
    return np.clip(np.rint((values - scale.low) * (255.0 / (scale.high - scale.low))), 0, 255).astype(np.uint8)


def repeat_to_length(spectrogram: npt.NDArray[np.uint8], min_frames: int = MIN_FRAMES) -> npt.NDArray[np.uint8]:
    """Repeats a short spectrogram along time to exactly `min_frames`, as ADVANCE does; longer ones are unchanged.

    Args:
        spectrogram: uint8 of shape (mel bands, frames), frames ≥ 1.
        min_frames: minimum number of frames.

    Returns:
        uint8 of shape (mel bands, max(frames, min_frames)), Fortran order.

    Raises:
        ValueError: the spectrogram has no frames.
    """
    num_frames = spectrogram.shape[1]
    if num_frames == 0:
        raise ValueError("a spectrogram without frames can't be repeated to length")
    if num_frames >= min_frames:
        return np.asfortranarray(spectrogram)
    return np.take(spectrogram.T, np.arange(min_frames) % num_frames, axis=0).T
