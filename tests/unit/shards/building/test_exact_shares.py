"""Exact shares of small sets: 10 % val and 20 % test, and with groups as near to them as the groups allow."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.building.exact_shares import share_sizes, split_exactly


@pytest.mark.parametrize(
    ("pairs", "val", "test"),
    [(0, 0, 0), (1, 0, 0), (3, 0, 1), (4, 0, 1), (5, 0, 1), (10, 1, 2), (60, 6, 12), (96, 10, 19), (499, 50, 100)],
)
def test_shares_are_rounded_by_largest_remainder(pairs: int, val: int, test: int) -> None:
    assert share_sizes(pairs) == (val, test)
    counts = Counter(split_exactly([f"key{number}" for number in range(pairs)], seed=1))
    assert (counts["val"], counts["test"], counts.total()) == (val, test, pairs)


def test_a_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    groups = [str(number) for number in range(120)]
    first, again, other = split_exactly(groups, 0), split_exactly(groups, 0), split_exactly(groups, 1)
    assert first == again != other
    backwards = split_exactly(groups[::-1], 0)
    assert dict(zip(groups[::-1], backwards, strict=True)) == dict(zip(groups, first, strict=True))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(0, 20))
def test_groups_stay_together_and_shares_are_near(sizes: list[int], seed: int) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    splits = split_exactly(groups, seed)
    split_of = dict(zip(groups, splits, strict=True))
    assert all(split_of[group] == split for group, split in zip(groups, splits, strict=True))
    counts = Counter(splits)
    assert counts["train"] >= max(sizes)
    val, test = share_sizes(len(groups))
    if len(sizes) >= 3:
        assert (counts["val"] > 0) == (val > 0)
        assert (counts["test"] > 0) == (test > 0)
    # Nothing that could be moved alone would bring val nearer to its share.
    candidates = sorted(sizes)[:-2]
    if candidates and val:
        assert abs(counts["val"] - val) <= min(abs(size - val) for size in candidates)


def test_many_small_groups_reach_the_shares_exactly() -> None:
    groups = [f"site{number // 3}" for number in range(120)]
    assert Counter(split_exactly(groups, 4)) == {"train": 84, "val": 12, "test": 24}
