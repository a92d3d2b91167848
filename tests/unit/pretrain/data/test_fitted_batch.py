"""Batches of small sets: the preset's where it fits, else the largest with two steps an epoch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.batches import BatchLayout
from pretrain.data.fitted_batch import fitted_batch_size, with_fitted_batch
from pretrain.presets import PRESETS


@pytest.mark.parametrize(
    ("batch_size", "num_pairs", "processes", "accumulation", "fitted"),
    [
        (64, 64, 1, 1, 64),  # fits
        (64, 63, 1, 1, 31),
        (256, 70, 1, 1, 35),
        (256, 70, 4, 1, 32),
        (64, 5, 1, 1, 2),
        (64, 3, 1, 1, 3),  # two steps would have a single pair each
        (64, 6, 4, 1, 4),
        (64, 7, 1, 4, 64),  # every part needs two pairs: the run refuses it
        (64, 8, 1, 4, 8),
        (64, 1, 1, 1, 64),
        (64, 3, 4, 1, 64),
    ],
)
def test_sizes_by_hand(batch_size: int, num_pairs: int, processes: int, accumulation: int, fitted: int) -> None:
    size = fitted_batch_size(batch_size, num_pairs, processes=processes, accumulation=accumulation)
    assert size == fitted


@given(st.integers(2, 512), st.integers(2, 600), st.integers(1, 8), st.integers(1, 4))
def test_a_fitted_batch_is_one_that_a_run_accepts(batch: int, pairs: int, processes: int, accumulation: int) -> None:
    fitted = fitted_batch_size(batch, pairs, processes=processes, accumulation=accumulation)
    if fitted == batch:
        assert batch <= pairs or pairs < max(processes, 2) * accumulation
    else:
        assert BatchLayout(fitted, processes, accumulation).steps_per_epoch(pairs) >= 1


def test_the_line_names_both_sizes_and_the_option() -> None:
    config, line = with_fitted_batch(PRESETS["soundingearth-resnet18"], 70, 1)
    assert config.batch_size == 35
    assert line == (
        "batch size 35, because the preset's 256 is more than the 70 training pairs; --batch-size N decides otherwise"
    )
    assert with_fitted_batch(config, 70, 1) == (config, "")
