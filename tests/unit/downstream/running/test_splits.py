"""Which items train and which test: by class, by seed, never both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstream.running.items import SceneItem
from downstream.running.splits import Split, alternating_split, few_shot_split, stratified_split
from shards.errors import UserError


def items_of(*counts: int) -> list[SceneItem]:
    return [
        SceneItem(f"class{label}/{i:03d}.jpg", Path(f"class{label}/{i:03d}.jpg"), label)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def per_class(items: list[SceneItem]) -> dict[int, int]:
    return dict(Counter(item.label for item in items))


def keys(items: list[SceneItem]) -> list[str]:
    return [item.key for item in items]


def assert_parts(split: Split, items: list[SceneItem]) -> None:
    """Each item is in one part, and each part is sorted."""
    assert sorted(keys(split.train + split.val + split.test)) == keys(items)
    for part in (split.train, split.val, split.test):
        assert keys(part) == sorted(keys(part))


def test_even_items_train_and_odd_ones_test() -> None:
    items = items_of(3, 4)
    split = alternating_split(items[::-1])
    assert keys(split.train) == ["class0/000.jpg", "class0/002.jpg", "class1/001.jpg", "class1/003.jpg"]
    assert_parts(split, items)


@given(
    counts=st.lists(st.integers(6, 40), min_size=2, max_size=5),
    fraction=st.sampled_from([0.1, 0.2, 0.5, 0.8]),
    seed=st.integers(0, 5),
)
def test_a_share_of_each_class_trains(counts: list[int], fraction: float, seed: int) -> None:
    items = items_of(*counts)
    split = stratified_split(items[::-1], fraction, seed)
    assert_parts(split, items)
    assert per_class(split.train) == {i: max(1, round(fraction * count)) for i, count in enumerate(counts)}
    again = stratified_split(items, fraction, seed)
    assert again == split


def test_the_test_part_does_not_hang_on_the_validation_part() -> None:
    items = items_of(20, 30)
    whole, parted = stratified_split(items, 0.5, 3), stratified_split(items, 0.5, 3, val_fraction=0.2)
    assert parted.test == whole.test
    assert sorted(keys(parted.train + parted.val)) == keys(whole.train)
    assert per_class(parted.val) == {0: 2, 1: 3}
    assert parted.num_labelled == len(whole.train) == 25


def test_seeds_draw_other_splits() -> None:
    items = items_of(20, 20)
    assert len({tuple(keys(stratified_split(items, 0.5, seed).test)) for seed in range(5)}) == 5
    assert len({tuple(keys(few_shot_split(items, 5, seed).train)) for seed in range(5)}) == 5


def test_few_of_each_class() -> None:
    items = items_of(6, 20)
    split = few_shot_split(items, 5, 0)
    assert_parts(split, items)
    assert (per_class(split.train), per_class(split.test)) == ({0: 5, 1: 5}, {0: 1, 1: 15})


def test_small_classes_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"the class of class1/.* has 1 images, too few for a training split of 50%"):
        stratified_split(items_of(9, 1), 0.5, 0)
    with pytest.raises(UserError, match="too few for a training split of 10% with a validation"):
        stratified_split(items_of(20, 9), 0.1, 0, val_fraction=0.1)
    with pytest.raises(UserError, match=r"has 5 images, but few-shot trains on 5"):
        few_shot_split(items_of(5, 20), 5, 0)
