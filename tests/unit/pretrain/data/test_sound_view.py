"""Masks and level of sound crops: what is hidden, how much, and from a seed alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pretrain.data.sound_view import RandomSoundView
from pretrain.settings.pretraining import DataSettings
from shards.errors import UserError
from shards.schema import SpectrogramScale, SpectrogramSettings

SPECTROGRAM = SpectrogramSettings()
CROP = np.random.default_rng(0).integers(60, 190, (128, 100)).astype(np.uint8)
MEAN = round(float(CROP.mean()))


def view(**settings: float) -> RandomSoundView:
    return RandomSoundView(DataSettings(**settings), SPECTROGRAM)


def hidden(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which bands and which frames are hidden whole."""
    is_hidden = (crop == MEAN) & (CROP != MEAN)
    free = CROP != MEAN
    return (is_hidden | ~free).all(1), (is_hidden | ~free).all(0)


def test_nothing_is_changed_unless_it_is_asked_for() -> None:
    assert view()(CROP, 3) is CROP


def test_a_mask_hides_consecutive_bands_and_another_frames() -> None:
    masks, lengths = view(mask_bands=0.25, mask_frames=0.2), []
    for seed in range(300):
        masked = masks(CROP, seed)
        bands, frames = hidden(masked)
        untouched = masked[~bands][:, ~frames]
        assert np.array_equal(untouched, CROP[~bands][:, ~frames])
        for marks in (bands, frames):
            assert np.abs(np.diff(marks.astype(int))).sum() <= 2  # in one piece
        lengths.append((bands.sum(), frames.sum()))
    most = np.array(lengths).max(0)
    assert most.tolist() == [32, 20]
    # Uniform up to there, within four standard errors.
    assert np.abs(np.array(lengths).mean(0) - [16, 10]).max() < 2.5


def test_the_level_moves_every_byte_by_the_same_decibels() -> None:
    step = 255 / 28 * np.log(10) / 10
    changes = [(view(level_db=6.0)(CROP, seed).astype(int) - CROP).mean() / step for seed in range(300)]
    assert -6.2 < min(changes) < -5.5
    assert 5.5 < max(changes) < 6.2
    one = view(level_db=6.0)(CROP, 1).astype(int) - CROP
    assert np.ptp(one) == 0
    loud = view(level_db=40.0)(np.full((128, 10), 250, np.uint8), 2)
    assert loud.max() <= 255


def test_a_seed_fixes_all_and_torchs_state_is_left_alone() -> None:
    masks = view(mask_bands=0.3, mask_frames=0.3, level_db=3.0)
    state = torch.get_rng_state()
    first = masks(CROP, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert np.array_equal(masks(CROP, 5), first)
    assert not np.array_equal(masks(CROP, 6), first)
    assert first.dtype == np.uint8
    assert first.shape == CROP.shape


def test_a_level_needs_a_logarithm_of_power() -> None:
    released = dataclasses.replace(SPECTROGRAM, scale=SpectrogramScale("exp-log-mel/10", 0.2, 1.6))
    with pytest.raises(UserError, match=r"data\.level_db must be 0 with spectrograms of exp-log-mel/10"):
        RandomSoundView(DataSettings(level_db=3.0), released)
    assert RandomSoundView(DataSettings(mask_bands=0.2), released)(CROP, 0).shape == CROP.shape
