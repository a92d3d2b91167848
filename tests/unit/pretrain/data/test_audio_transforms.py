"""Crops of stored sounds: random and evenly spaced, of recordings longer and shorter than a crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.data.audio_transforms import random_crop_start, spread_crop_starts, spread_crops_of
from shards.streaming.reading import ShardSet


def test_random_crops_begin_anywhere_that_fits() -> None:
    starts = {random_crop_start(132, 128, seed) for seed in range(200)}
    assert starts == {0, 1, 2, 3, 4}
    assert {random_crop_start(100, 128, seed) for seed in range(20)} == {0}


@pytest.mark.parametrize(
    ("stored", "crops", "expected"),
    [(300, 1, [86]), (300, 3, [0, 86, 172]), (129, 5, [0, 1]), (128, 3, [0]), (40, 1, [0]), (40, 3, [0])],
)
def test_spread_crops_reach_from_the_first_to_the_last(stored: int, crops: int, expected: list[int]) -> None:
    assert spread_crop_starts(stored, 128, crops) == expected


def test_a_recording_shorter_than_a_crop_is_repeated(tiny_shards: Path) -> None:
    sample = ShardSet.open(tiny_shards).sample("train", 0)
    whole = sample.frames(0, sample.num_frames)
    longer = sample.frames(0, 2 * sample.num_frames + 7)
    assert longer.shape == (128, 2 * sample.num_frames + 7)
    assert np.array_equal(longer, np.concatenate([whole, whole, whole[:, :7]], axis=1))
    (crop,) = spread_crops_of(whole, sample.num_frames + 5, 3)
    assert np.array_equal(crop[0], np.concatenate([whole, whole[:, :5]], axis=1))
