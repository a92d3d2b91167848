"""Training and test splits: pure functions of the sorted list of items, a fraction and a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.running.items import SceneItem
from shards.errors import UserError

_STRATIFIED, _FEW_SHOT = 0x5CE7E, 0x5407
"""Make the draws of different kinds of split independent."""


@dataclass(frozen=True)
class Split:
    """A split of the items.

    Attributes:
        train: items for fitting.
        test: items for scoring.
        val: items for model selection, taken from the training items; may be empty.
        name: description in results.
    """

    train: list[SceneItem]
    test: list[SceneItem]
    val: list[SceneItem]
    name: str

    @property
    def num_labelled(self) -> int:
        """The number of training and validation items."""
        return len(self.train) + len(self.val)


def alternating_split(items: Sequence[SceneItem]) -> Split:
    """Even items of the sorted list for training, odd ones for testing, as in the authors' code."""
    ordered = _sorted(items)
    return Split(ordered[0::2], ordered[1::2], [], "even items train, odd ones test")


def stratified_split(items: Sequence[SceneItem], fraction: float, seed: int, *, val_fraction: float = 0.0) -> Split:
    """A random share of each class for training, the rest for testing.

    Args:
        items: labelled items.
        fraction: share of each class for training, in (0, 1); each class has at least one training and one test item.
        seed: seed of the split.
        val_fraction: share of each class's training items to set aside for validation; at least one item if > 0. The
            test items do not depend on it.

    Raises:
        UserError: a class has too few items.
    """
    train: list[SceneItem] = []
    test: list[SceneItem] = []
    val: list[SceneItem] = []
    for shuffled in _shuffled_classes(items, (seed, _STRATIFIED)):
        num_train = min(len(shuffled) - 1, max(1, round(fraction * len(shuffled))))
        num_val = max(1, round(val_fraction * num_train)) if val_fraction else 0
        if num_train - num_val < 1:
            raise UserError(
                f"the class of {shuffled[0].key} has {len(shuffled)} images, too few for a training split of "
                f"{fraction:.0%} {'with a validation split ' if val_fraction else ''}and a test split; add images, or "
                "choose another --train-fraction"
            )
        val += shuffled[:num_val]
        train += shuffled[num_val:num_train]
        test += shuffled[num_train:]
    return Split(_sorted(train), _sorted(test), _sorted(val), f"{fraction:.0%} of each class train")


def few_shot_split(items: Sequence[SceneItem], shots: int, seed: int) -> Split:
    """`shots` random items of each class for training, all others for testing.

    Raises:
        UserError: a class has no items left for testing.
    """
    train: list[SceneItem] = []
    test: list[SceneItem] = []
    for shuffled in _shuffled_classes(items, (seed, _FEW_SHOT)):
        if len(shuffled) <= shots:
            raise UserError(
                f"the class of {shuffled[0].key} has {len(shuffled)} images, but few-shot trains on {shots} and tests "
                "on the others; add images, or choose another --protocol"
            )
        train += shuffled[:shots]
        test += shuffled[shots:]
    return Split(_sorted(train), _sorted(test), [], f"{shots} of each class train")


def _shuffled_classes(items: Sequence[SceneItem], seed: tuple[int, int]) -> Iterator[list[SceneItem]]:
    """Yields the shuffled items of each class; the order depends on the seed, not on the order of the input."""
    generator = np.random.default_rng(seed)
    for label in sorted({item.label for item in items}):
        members = _sorted([item for item in items if item.label == label])
        yield [members[i] for i in generator.permutation(len(members))]


def _sorted(items: Sequence[SceneItem]) -> list[SceneItem]:
    return sorted(items, key=lambda item: item.key)
