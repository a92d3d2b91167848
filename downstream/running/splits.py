"""Which items train, and which test: pure functions of the sorted list of items, a fraction and a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.running.items import SceneItem
from shards.errors import UserError

_STRATIFIED, _FEW_SHOT = 0x5CE7E, 0x5407
"""Keep the draws of one kind of split apart from those of another."""


@dataclass(frozen=True)
class Split:
    """Items by their use.

    Attributes:
        train: to fit on.
        test: to score on.
        val: to choose by, taken from the training part; empty where nothing is chosen.
        name: as results show it.
    """

    train: list[SceneItem]
    test: list[SceneItem]
    val: list[SceneItem]
    name: str

    @property
    def num_labelled(self) -> int:
        """Items whose labels were used before the test: to fit on and to choose by."""
        return len(self.train) + len(self.val)


def alternating_split(items: Sequence[SceneItem]) -> Split:
    """Even items of the sorted list train, odd ones test, as in the authors' code."""
    ordered = _sorted(items)
    return Split(ordered[0::2], ordered[1::2], [], "even items train, odd ones test")


def stratified_split(items: Sequence[SceneItem], fraction: float, seed: int, *, val_fraction: float = 0.0) -> Split:
    """A share of each class trains, the rest tests, drawn at random by the seed.

    Args:
        items: labelled.
        fraction: of each class that trains, in (0, 1); at least one item of each class trains and one tests.
        seed: of the draw.
        val_fraction: of each class's training part that is set aside to choose by; at least one item where > 0. The
            test part does not depend on it.

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
                f"the class of {shuffled[0].key} has {len(shuffled)} images, too few for a training part of "
                f"{fraction:.0%} {'with a validation part ' if val_fraction else ''}and a test part; add images, or "
                "choose another --train-fraction"
            )
        val += shuffled[:num_val]
        train += shuffled[num_val:num_train]
        test += shuffled[num_train:]
    return Split(_sorted(train), _sorted(test), _sorted(val), f"{fraction:.0%} of each class train")


def few_shot_split(items: Sequence[SceneItem], shots: int, seed: int) -> Split:
    """So many items of each class train, all others test, drawn at random by the seed.

    Raises:
        UserError: a class has no item left to test.
    """
    train: list[SceneItem] = []
    test: list[SceneItem] = []
    for shuffled in _shuffled_classes(items, (seed, _FEW_SHOT)):
        if len(shuffled) <= shots:
            raise UserError(
                f"the class of {shuffled[0].key} has {len(shuffled)} images, few-shot trains on {shots} and tests on "
                "the others; add images, or choose another --protocol"
            )
        train += shuffled[:shots]
        test += shuffled[shots:]
    return Split(_sorted(train), _sorted(test), [], f"{shots} of each class train")


def _shuffled_classes(items: Sequence[SceneItem], seed: tuple[int, int]) -> Iterator[list[SceneItem]]:
    """The items of each class in an order by the seed, which does not depend on the order they came in."""
    generator = np.random.default_rng(seed)
    for label in sorted({item.label for item in items}):
        members = _sorted([item for item in items if item.label == label])
        yield [members[i] for i in generator.permutation(len(members))]


def _sorted(items: Sequence[SceneItem]) -> list[SceneItem]:
    return sorted(items, key=lambda item: item.key)
