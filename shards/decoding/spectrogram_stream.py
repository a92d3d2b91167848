"""Computes the log-mel spectrogram of any front end by torchaudio, as a stream, so that recordings can have any length.

It imports torch, which takes a second: import it where sounds are decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from torchaudio.compliance import kaldi

from shards.decoding.mel_filters import filters_of
from shards.decoding.spectrogram import encode_scale
from shards.schema import SpectrogramSettings

FRAMES_PER_BATCH = 64
"""Frames transformed together; fixed, so that the result is bit-identical however the caller cuts the waveform."""

BANDS_PER_GROUP = 16
"""Bands per matrix product, which covers only their bins; a product this small runs on one BLAS thread. With all bands
in one product, BLAS started threads for each batch: decoding two hours on two busy cores took 73 s of processor time
instead of 10 s."""

SMALLEST_POWER = float(np.finfo(np.float32).tiny)
"""Lower bound on the power before the logarithm, unless the front end has a higher one; far below byte 0."""

KALDI_FRAMES = ("hann-symmetric", "kaldi", False)
"""Window, mel scale and position of frames that are filtered one by one, which torchaudio computes as Kaldi does."""

Samples = npt.NDArray[np.float32]
Frames = npt.NDArray[np.float64]


class SpectrogramStream:
    """Computes the frames of a stored spectrogram from a waveform that arrives in pieces.

    A frame is the squared magnitude of the Fourier transform under a window, summed over mel bands. Its natural
    logarithm is stored as a byte on `settings.scale`. The result is bit-identical however the waveform is cut, because
    frames are transformed in batches of `FRAMES_PER_BATCH` counted from the start, in float64.

    Without `settings.is_centred`, frame t covers samples [t · hop, t · hop + window): n ≥ window samples give
    1 + (n − window) // hop frames, fewer give none. With it, frame t is centred on sample t · hop, and the waveform is
    reflected at both ends: n samples give 1 + n // hop frames; pre-emphasis takes one sample away first.

    Sources: `shards.front_ends` names that of each front end.

    Args:
        settings: of the front end; sampling rate, window, hop and mel scale are not None.

    Raises:
        ValueError: a setting is None (not published) or not supported.
    """

    def __init__(self, settings: SpectrogramSettings) -> None:
        _check(settings)
        assert settings.window_samples is not None
        assert settings.hop_samples is not None
        self._settings = settings
        self._hop = settings.hop_samples
        fft_samples = settings.fft_samples or settings.window_samples
        self._frame = settings.window_samples if settings.pre_emphasis_of == "frame" else fft_samples
        self._reflected = fft_samples // 2 if settings.is_centred else 0
        self._pre_emphasis = settings.pre_emphasis if settings.pre_emphasis_of == "waveform" else 0.0
        self._mel_power = _mel_power(settings)
        self._batch = (FRAMES_PER_BATCH - 1) * self._hop + self._frame
        self._start()

    def _start(self) -> None:
        self._pieces: list[Samples] = []
        self._num_pieces = 0
        self._last: Samples = np.empty(0, np.float32)
        self._filtered: Samples = np.empty(0, np.float32)
        self._has_begun = False

    @property
    def min_samples(self) -> int:
        """The shortest waveform that has a frame: reflection needs more samples than it mirrors."""
        return self._reflected + 1 + (self._pre_emphasis > 0) if self._reflected else self._frame

    def push(self, waveform: Samples) -> npt.NDArray[np.uint8]:
        """Adds samples and returns the frames of all batches that are now complete.

        Args:
            waveform: float32 of shape (n,), full scale ±1; any n ≥ 0.

        Returns:
            uint8 of shape (mel bands, frames), Fortran order; often without frames.
        """
        return encode_scale(self.push_values(waveform), self._settings.scale).T

    def finish(self) -> npt.NDArray[np.uint8]:
        """Returns the remaining frames, uint8 of shape (mel bands, frames), and resets the stream."""
        return encode_scale(self.finish_values(), self._settings.scale).T

    def push_values(self, waveform: Samples) -> Frames:
        """As `push`, but returns the values, float64 of shape (frames, mel bands)."""
        self._pieces.append(np.array(waveform, dtype=np.float32))
        self._num_pieces += len(waveform)
        batch_hop = FRAMES_PER_BATCH * self._hop
        if len(self._filtered) + self._num_pieces < max(self.min_samples, self._batch, batch_hop):
            return self._stack([])
        self._absorb()
        # What is still to come may be mirrored, so the last samples wait.
        needed = max(self._batch, batch_hop) + (self._reflected + 1 if self._reflected else 0)
        batches, start = [], 0
        while len(self._filtered) - start >= needed:
            batches.append(self._values(self._filtered[start : start + self._batch]))
            start += batch_hop
        self._filtered = self._filtered[start:].copy()
        return self._stack(batches)

    def finish_values(self) -> Frames:
        """As `finish`, but returns the values, float64 of shape (frames, mel bands)."""
        self._absorb()
        pending, has_frames = self._filtered, self._has_begun
        self._start()
        if not has_frames:
            return self._stack([])
        if self._reflected:
            pending = np.concatenate([pending, pending[-2 : -self._reflected - 2 : -1]])
        num_frames = 1 + (len(pending) - self._frame) // self._hop
        batches = []
        for first in range(0, num_frames, FRAMES_PER_BATCH):
            piece = pending[first * self._hop : first * self._hop + self._batch]
            padded = np.zeros(self._batch, np.float32)
            padded[: len(piece)] = piece
            batches.append(self._values(padded)[: num_frames - first])
        return self._stack(batches)

    def _absorb(self) -> None:
        """Filters the pieces; the first samples are mirrored as soon as there are enough."""
        waveform = np.concatenate([self._last, *self._pieces])
        self._pieces, self._num_pieces = [], 0
        if not self._has_begun and len(waveform) < self.min_samples:
            self._pieces, self._num_pieces, self._last = [waveform], len(waveform), np.empty(0, np.float32)
            return
        if self._pre_emphasis:
            self._last = waveform[-1:]
            waveform = waveform[1:] - np.float32(self._pre_emphasis) * waveform[:-1]
        if not self._has_begun:
            waveform = np.concatenate([waveform[self._reflected : 0 : -1], waveform])
            self._has_begun = True
        self._filtered = np.concatenate([self._filtered, waveform])

    def _values(self, waveform: Samples) -> Frames:
        """The values of one batch, float64 of shape (FRAMES_PER_BATCH, mel bands)."""
        power = self._mel_power(waveform) + self._settings.added_power
        return np.log(np.maximum(power, self._settings.smallest_power or SMALLEST_POWER))

    def _stack(self, batches: list[Frames]) -> Frames:
        return np.concatenate([np.empty((0, self._settings.mel_bands)), *batches])


def _check(settings: SpectrogramSettings) -> None:
    if settings.sample_rate_hz is None or settings.window_samples is None or settings.hop_samples is None:
        raise ValueError(f"a spectrogram needs sampling rate, window and hop, got {settings}")
    if settings.scale.name != "log-mel":
        raise ValueError(f"scale must be 'log-mel', got {settings.scale.name!r}")
    if settings.window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}, got {settings.window!r}")
    filters_of(settings)
    frames = (settings.window, settings.mel_scale, settings.is_centred)
    if settings.pre_emphasis_of == "frame" and frames != KALDI_FRAMES:
        raise ValueError(
            f"window, mel_scale and is_centred must be {KALDI_FRAMES} with frames as Kaldi's, got {frames}"
        )


def _normalised(window: torch.Tensor) -> torch.Tensor:
    return window / window.sum()


WINDOWS: dict[str, Callable[[int], torch.Tensor]] = {
    "hann-normalised": lambda samples: _normalised(torch.hann_window(samples, dtype=torch.float64)),
    "hann-periodic": lambda samples: torch.hann_window(samples, dtype=torch.float64),
    "hann-symmetric": lambda samples: torch.hann_window(samples, periodic=False, dtype=torch.float64),
}
"""Windows by their names in the settings: (samples,) float64."""


def _mel_power(settings: SpectrogramSettings) -> Callable[[Samples], Frames]:
    """The function from the samples of a batch to the power in each band, (FRAMES_PER_BATCH, mel bands)."""
    rate, hop, window_samples = settings.sample_rate_hz, settings.hop_samples, settings.window_samples
    assert rate is not None
    assert hop is not None
    assert window_samples is not None
    window = WINDOWS[settings.window](window_samples)

    def of_spectrum(waveform: Samples) -> Frames:
        # Without `power`, because the magnitude of complex numbers takes twice as long as the transform.
        spectrum = torchaudio.functional.spectrogram(
            torch.from_numpy(np.ascontiguousarray(waveform)).double(),
            pad=0,
            window=window,
            n_fft=settings.fft_samples or window_samples,
            hop_length=hop,
            win_length=window_samples,
            power=None,
            normalized=False,
            center=False,
        ).T.numpy()
        power = spectrum.real**2 + spectrum.imag**2
        mel_power = np.empty((len(power), settings.mel_bands))
        for bands, bins, weights in _groups(settings):
            mel_power[:, bands] = power[:, bins] @ weights
        return mel_power

    def of_kaldi(waveform: Samples) -> Frames:
        energies: Frames = kaldi.fbank(
            torch.from_numpy(np.ascontiguousarray(waveform)).double()[None],
            sample_frequency=float(rate),
            frame_length=1000.0 * window_samples / rate,
            frame_shift=1000.0 * hop / rate,
            window_type="hanning",
            num_mel_bins=settings.mel_bands,
            low_freq=settings.low_hz,
            high_freq=settings.high_hz or 0.0,
            preemphasis_coefficient=settings.pre_emphasis,
            use_log_fbank=False,
        ).numpy()
        return energies

    return of_kaldi if settings.pre_emphasis_of == "frame" else of_spectrum


@lru_cache(maxsize=8)
def _groups(settings: SpectrogramSettings) -> list[tuple[slice, slice, Frames]]:
    """The filters in groups of neighbouring bands: (bands, the bins they cover, the weights of these bins)."""
    filters, groups = filters_of(settings), []
    for first in range(0, settings.mel_bands, BANDS_PER_GROUP):
        bands = slice(first, min(first + BANDS_PER_GROUP, settings.mel_bands))
        covered = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(int(covered[0]), int(covered[-1]) + 1) if len(covered) else slice(0, 0)
        groups.append((bands, bins, np.ascontiguousarray(filters[bins, bands])))
    return groups
