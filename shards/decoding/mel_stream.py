"""Computes log-mel spectrograms as the front ends of pre-trained networks do, by torchaudio, as a stream."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from torch import Tensor

from shards.decoding.spectrogram import FRAMES_PER_BATCH, encode_scale
from shards.schema import SpectrogramSettings


class MelStream:
    """Computes the frames of a spectrogram from a waveform that arrives in pieces, in float32.

    The waveform is filtered by y[t] = x[t + 1] - p x[t] and reflected by half the Fourier transform at both ends, so
    that n samples of y give 1 + n // hop frames. A frame is the squared magnitude of the Fourier transform under the
    window, summed over triangular bands on Kaldi's mel scale; stored is ln(power + added_power) as a byte on the scale.
    The result is bit-identical however the waveform is cut, because frames are transformed in batches of
    `FRAMES_PER_BATCH` counted from the start.

    Source: EfficientAT (Schmid et al., arXiv 2211.04772), models/preprocess.py.

    Args:
        settings: sampling rate (Hz), window, hop and Fourier transform (samples), and the rest of a centred front end.

    Raises:
        ValueError: a setting is None or not supported.
    """

    def __init__(self, settings: SpectrogramSettings) -> None:
        if settings.window_samples is None or settings.hop_samples is None or settings.fft_samples is None:
            raise ValueError(f"a centred spectrogram needs window, hop and Fourier transform, got {settings}")
        if (settings.window, settings.mel_scale, settings.is_centred) != ("hann-symmetric", "kaldi", True):
            raise ValueError(f"window, mel_scale and is_centred must be 'hann-symmetric', 'kaldi', True: {settings}")
        self._settings = settings
        self._hop, self._fft = settings.hop_samples, settings.fft_samples
        self._window = torch.hann_window(settings.window_samples, periodic=False)
        self._filters = mel_filters(settings)
        self._pieces: list[npt.NDArray[np.float32]] = []
        self._num_pieces = 0
        self._filtered: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._last: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._has_begun = False

    @property
    def min_samples(self) -> int:
        """The shortest waveform that has a frame: reflection needs more samples than it mirrors."""
        return self._fft // 2 + 2

    def push(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Adds samples and returns the frames of all batches that are now complete.

        Args:
            waveform: float32 of shape (n,), full scale ±1; any n ≥ 0.

        Returns:
            uint8 of shape (mel bands, frames), Fortran order; often without frames.
        """
        return self._encoded(self.push_values(waveform))

    def finish(self) -> npt.NDArray[np.uint8]:
        """Returns the remaining frames, uint8 of shape (mel bands, frames), and resets the stream."""
        return self._encoded(self.finish_values())

    def push_values(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """As `push`, but returns the values, float32 of shape (frames, mel bands)."""
        self._pieces.append(np.array(waveform, dtype=np.float32))
        self._num_pieces += len(waveform)
        if self._num_pieces < max(self.min_samples, FRAMES_PER_BATCH * self._hop):
            return self._stack([])
        self._absorb()
        batches, start = [], 0
        batch_samples = (FRAMES_PER_BATCH - 1) * self._hop + self._fft
        # What is still to come may be mirrored, so the last samples wait.
        while len(self._filtered) - start >= max(batch_samples, FRAMES_PER_BATCH * self._hop) + self._fft:
            batches.append(self._transform(self._filtered[start : start + batch_samples]))
            start += FRAMES_PER_BATCH * self._hop
        self._filtered = self._filtered[start:].copy()
        return self._stack(batches)

    def finish_values(self) -> npt.NDArray[np.float32]:
        """As `finish`, but returns the values, float32 of shape (frames, mel bands)."""
        self._absorb(is_last=True)
        pending, half, has_frames = self._filtered, self._fft // 2, self._has_begun
        self._filtered, self._last, self._has_begun = np.empty(0, np.float32), np.empty(0, np.float32), False
        if not has_frames:
            return self._stack([])
        pending = np.concatenate([pending, pending[-2 : -half - 2 : -1]])
        num_frames = 1 + (len(pending) - self._fft) // self._hop
        batches = []
        batch_samples = (FRAMES_PER_BATCH - 1) * self._hop + self._fft
        for first in range(0, num_frames, FRAMES_PER_BATCH):
            piece = pending[first * self._hop : first * self._hop + batch_samples]
            padded = np.zeros(batch_samples, np.float32)
            padded[: len(piece)] = piece
            batches.append(self._transform(padded)[: num_frames - first])
        return self._stack(batches)

    def _absorb(self, *, is_last: bool = False) -> None:
        """Filters the pieces; the first samples are mirrored as soon as there are enough."""
        waveform = np.concatenate([self._last, *self._pieces])
        self._pieces, self._num_pieces = [], 0
        half = self._fft // 2
        if not self._has_begun and len(waveform) < self.min_samples:
            self._pieces = [] if is_last else [waveform]
            self._num_pieces = 0 if is_last else len(waveform)
            self._last = np.empty(0, np.float32)
            return
        self._last = waveform[-1:]
        filtered = waveform[1:] - np.float32(self._settings.pre_emphasis) * waveform[:-1]
        if not self._has_begun:
            filtered = np.concatenate([filtered[half:0:-1], filtered])
            self._has_begun = True
        self._filtered = np.concatenate([self._filtered, filtered])

    def _transform(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Transforms the samples of one batch to values, float32 of shape (FRAMES_PER_BATCH, mel bands)."""
        power = torchaudio.functional.spectrogram(
            torch.from_numpy(np.ascontiguousarray(waveform)),
            pad=0,
            window=self._window,
            n_fft=self._fft,
            hop_length=self._hop,
            win_length=len(self._window),
            power=2.0,
            normalized=False,
            center=False,
        )
        values: Tensor = torch.log(self._filters @ power + self._settings.added_power)
        return values.T.contiguous().numpy()

    def _encoded(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        return encode_scale(values, self._settings.scale).T

    def _stack(self, batches: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        return np.concatenate([np.empty((0, self._settings.mel_bands), np.float32), *batches])


@lru_cache(maxsize=8)
def mel_filters(settings: SpectrogramSettings) -> Tensor:
    """Kaldi's triangular mel filters, float32 (mel bands, fft_samples // 2 + 1); the highest bin is in no band."""
    assert settings.sample_rate_hz is not None
    assert settings.fft_samples is not None
    filters, _ = torchaudio.compliance.kaldi.get_mel_banks(
        num_bins=settings.mel_bands,
        window_length_padded=settings.fft_samples,
        sample_freq=float(settings.sample_rate_hz),
        low_freq=settings.low_hz,
        high_freq=settings.high_hz or settings.sample_rate_hz / 2,
        vtln_low=100.0,
        vtln_high=-500.0,
        vtln_warp_factor=1.0,
    )
    padded: Tensor = torch.nn.functional.pad(filters, (0, 1))
    return padded
