"""Long-term acoustic features of a clip: log magnitudes of 512-ms windows in wavelet or mel bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from downstream.tau.wavelets import NUM_FILTERS, morlet_bank
from shards.decoding.mel_filters import mel_filters
from shards.decoding.sound_files import opened
from shards.errors import RejectedPair

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 8192
"""512 ms."""
HOP_SAMPLES = 2736
"""171 ms."""
CLIP_SECONDS = 10
NUM_CHANNELS = 2
FRAMES_OF_CLIP = (CLIP_SECONDS * SAMPLE_RATE_HZ - WINDOW_SAMPLES) // HOP_SAMPLES + 1
FRAMES_OF_SECOND = (SAMPLE_RATE_HZ - WINDOW_SAMPLES) // HOP_SAMPLES + 1
"""Frames of a one-second segment: those whose window is completely inside it."""

TOLERATED_LOSS_SECONDS = 0.1
SMALLEST_MAGNITUDE = 1e-4
"""Below the rounding noise of 16-bit samples; the logarithm of silence is finite."""

BANDS = {"scalogram": NUM_FILTERS, "fbank": 256}
"""Filters of each kind of features."""


def second_of_frame(frame: int) -> int:
    """The second of the clip in which a frame's window has its middle: that is the image it is paired with."""
    return (frame * HOP_SAMPLES + WINDOW_SAMPLES // 2) // SAMPLE_RATE_HZ


class AcousticFeatures:
    """Average and difference channel → frames of the log-filtered magnitude spectrum.

    A frame's value is log(max(Σ_ν w_ν |X_ν|, 1e-4)) with X the spectrum of 8,192 samples under a Hann window, one
    frame every 2,736 samples, none reaching beyond the sound, and w a filter: of `wavelets.morlet_bank` ("scalogram",
    290) or of Slaney's mel scale from 0 Hz to 8 kHz ("fbank", 256). Chen et al. (2022), section 2.2.1, give windows,
    hops and numbers of filters; the logarithm is of their earlier work (their reference [7]).

    Args:
        kind: "scalogram" or "fbank".
    """

    def __init__(self, kind: str) -> None:
        bank = {
            "scalogram": morlet_bank(SAMPLE_RATE_HZ, WINDOW_SAMPLES),
            "fbank": mel_filters(SAMPLE_RATE_HZ, WINDOW_SAMPLES, BANDS["fbank"]),
        }[kind]
        self._filters = bank.astype(np.float32)
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)

    def __call__(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(2, samples) at 16 kHz → float32 (frames, 2, bands)."""
        windows = sliding_window_view(channels, WINDOW_SAMPLES, axis=1)[:, ::HOP_SAMPLES]
        magnitude = np.abs(np.fft.rfft(windows * self._window)).astype(np.float32)
        filtered = np.log(np.maximum(magnitude @ self._filters, SMALLEST_MAGNITUDE))
        return np.ascontiguousarray(filtered.transpose(1, 0, 2))

    def of_clip(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The frames of a clip of 10 s, then those of each of its seconds alone.

        Args:
            channels: float32 (2, 160,000).

        Returns:
            float32 (56 + 10 · 3, 2, bands).
        """
        seconds = np.split(channels, CLIP_SECONDS, axis=1)
        return np.concatenate([self(channels), *map(self, seconds)])


def read_channels(path: Path) -> NDArray[np.float32]:
    """A stereo clip as average (L + R)/2 and difference L − R at 16 kHz, cut to 10 s.

    Returns:
        float32 (2, 160,000).

    Raises:
        RejectedPair: it can't be decoded, is not stereo, holds samples that are not finite, or ends early.
    """
    with opened(path) as sound:
        rate = sound.rate_hz
        if sound.num_channels != NUM_CHANNELS:
            raise RejectedPair(
                "not stereo", f"{path.name}: {sound.num_channels} channels, average and difference need 2"
            )
        stereo = sound.beginning(CLIP_SECONDS * rate).T
    if len(stereo) < (CLIP_SECONDS - TOLERATED_LOSS_SECONDS) * rate:
        raise RejectedPair("ends early", f"{path.name}: {len(stereo) / rate:.1f} s of {CLIP_SECONDS} s")
    if not np.isfinite(stereo).all():
        raise RejectedPair("undecodable sound", f"{path.name}: samples that are not finite")
    resampled = soxr.resample(stereo, rate, SAMPLE_RATE_HZ)[: CLIP_SECONDS * SAMPLE_RATE_HZ]
    left, right = np.pad(resampled, ((0, CLIP_SECONDS * SAMPLE_RATE_HZ - len(resampled)), (0, 0))).T
    return np.stack([(left + right) / 2, left - right]).astype(np.float32)
