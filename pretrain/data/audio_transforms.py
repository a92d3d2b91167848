"""Crops of spectrograms: random for training, evenly spaced for evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shards.decoding.spectrogram import repeat_to_length


def random_crop_start(stored_frames: int, num_frames: int, seed: int) -> int:
    """First frame of a random crop of `num_frames` consecutive frames (SoundingEarth, section IV-A).

    It is 0 for a shorter recording, which is repeated.
    """
    return int(np.random.default_rng(seed).integers(0, max(0, stored_frames - num_frames) + 1))


def spread_crop_starts(stored_frames: int, num_frames: int, crops: int) -> list[int]:
    """First frames of up to `crops` crops, evenly spaced from the first to the last that fits, none twice.

    Args:
        stored_frames: frames of the spectrogram; one with fewer than `num_frames` is repeated, which is one crop.
        num_frames: frames of each crop.
        crops: number of crops; 1: the central one.
    """
    last = max(0, stored_frames - num_frames)
    if crops == 1:
        return [last // 2]
    return sorted(set(np.linspace(0, last, crops).round().astype(int).tolist()))


def spread_crops_of(spectrogram: NDArray[np.uint8], num_frames: int, crops: int) -> NDArray[np.uint8]:
    """Up to `crops` evenly spaced crops of a spectrogram: (mel bands, frames) → (k, 1, mel bands, num_frames)."""
    spectrogram = repeat_to_length(spectrogram, num_frames)
    starts = spread_crop_starts(spectrogram.shape[1], num_frames, crops)
    return np.stack([spectrogram[:, start : start + num_frames] for start in starts])[:, None]
