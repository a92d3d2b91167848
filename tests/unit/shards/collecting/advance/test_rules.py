"""ADVANCE's rules at their boundaries, and clips whose start is random, seeded and within the recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstream.audiovisual.advance import PAIRS_OF_CLASS
from shards.collecting.advance.label_table import read_label_table
from shards.collecting.advance.rules import ADVANCE_CLASSES, clip_start, decide, is_too_short, repeats_of

RATE_HZ = 16_000


@pytest.mark.parametrize(
    ("seconds", "is_dropped", "repeats"),
    [(1.99, True, None), (2.0, False, 6), (2.5, False, 5), (5.0, False, 3), (9.99, False, 2), (10.0, False, 2),
     (10.01, False, 1), (3600.0, False, 1)],
)  # fmt: skip
def test_lengths_at_their_boundaries(seconds: float, is_dropped: bool, repeats: int | None) -> None:
    num_samples = round(seconds * RATE_HZ)
    assert is_too_short(num_samples, RATE_HZ) == is_dropped
    if repeats is not None:
        assert repeats_of(num_samples, RATE_HZ) == repeats


@given(st.integers(2 * 8000, 30 * 8000))
def test_what_is_repeated_becomes_longer_than_ten_seconds_and_no_longer_than_needed(num_samples: int) -> None:
    repeats = repeats_of(num_samples, 8000)
    assert repeats * num_samples > 10 * 8000
    assert repeats == 1 or (repeats - 1) * num_samples <= 10 * 8000


@given(st.integers(2 * 8000, 40 * 8000), st.text(max_size=20), st.integers(0, 5))
def test_a_clip_lies_within_the_repeated_recording(num_samples: int, text: str, seed: int) -> None:
    start = clip_start(num_samples, 8000, text, seed)
    assert start >= 0
    assert start + 10 * 8000 <= repeats_of(num_samples, 8000) * num_samples


def test_starts_are_spread_evenly_and_depend_on_seed_and_name() -> None:
    num_samples = 20 * RATE_HZ
    starts = np.array([clip_start(num_samples, RATE_HZ, f"key {n}", 0) for n in range(4000)]) / (10 * RATE_HZ)
    assert abs(starts.mean() - 0.5) < 0.02
    assert np.histogram(starts, 10, (0, 1))[0].min() > 320
    first = [clip_start(num_samples, RATE_HZ, "a", seed) for seed in range(20)]
    assert len(set(first)) == 20
    assert first == [clip_start(num_samples, RATE_HZ, "a", seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("pairs", "decision"),
    [(0, "dropped"), (9, "dropped"), (10, "shifted"), (99, "shifted"), (100, "kept"), (1000, "kept")],
)
def test_classes_at_their_boundaries(pairs: int, decision: str) -> None:
    assert decide(pairs) == decision


def test_the_classes_are_those_of_the_benchmark() -> None:
    assert list(ADVANCE_CLASSES) == sorted(PAIRS_OF_CLASS)
    assert read_label_table(None).classes == ADVANCE_CLASSES
