"""Which frames of a spectrogram the network sees: a random crop for training, spread ones for evaluation."""

from __future__ import annotations

import numpy as np


def random_crop_start(stored_frames: int, num_frames: int, seed: int) -> int:
    """First frame of a random crop of `num_frames` consecutive frames (SoundingEarth, section IV-A)."""
    return int(np.random.default_rng(seed).integers(0, stored_frames - num_frames + 1))


def spread_crop_starts(stored_frames: int, num_frames: int, crops: int) -> list[int]:
    """First frames of up to `crops` crops, evenly spaced from the first to the last that fits, none twice.

    Args:
        stored_frames: frames of the spectrogram, at least `num_frames`.
        num_frames: frames of each crop.
        crops: how many; 1 gives the central one.
    """
    last = stored_frames - num_frames
    if crops == 1:
        return [last // 2]
    return sorted(set(np.linspace(0, last, crops).round().astype(int).tolist()))
