"""The order of an epoch: a permutation, fixed by seed and epoch, with whole shards in a block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.streaming.order import epoch_order

counts = st.lists(st.integers(0, 40), max_size=12)


@given(counts=counts, seed=st.integers(0, 2**31), epoch=st.integers(0, 400), block=st.integers(1, 100))
def test_every_sample_comes_once(counts: list[int], seed: int, epoch: int, block: int) -> None:
    order = epoch_order(counts, seed=seed, epoch=epoch, block_samples=block)
    assert sorted(order.tolist()) == list(range(sum(counts)))
    again = epoch_order(counts, seed=seed, epoch=epoch, block_samples=block)
    assert np.array_equal(order, again)


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=12), block=st.integers(1, 100))
def test_shards_that_are_begun_and_not_finished_are_bounded_by_the_block(counts: list[int], block: int) -> None:
    order = epoch_order(counts, seed=3, epoch=1, block_samples=block)
    shard_of = np.repeat(np.arange(len(counts)), counts)
    left = np.array(counts)
    for shard in shard_of[order]:
        left[shard] -= 1
        is_open = (left > 0) & (left < counts)
        assert np.array(counts)[is_open].sum() < block + max(counts)


def test_epochs_and_seeds_differ() -> None:
    orders = [
        epoch_order([50, 50], seed=seed, epoch=epoch).tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_shuffles_across_shards_within_a_block() -> None:
    first_half = epoch_order([500, 500], seed=0, epoch=0)[:500]
    assert 200 < (first_half < 500).sum() < 300


def test_refuses_an_empty_block() -> None:
    with pytest.raises(ValueError, match="block_samples must be >= 1"):
        epoch_order([3], seed=0, epoch=0, block_samples=0)
