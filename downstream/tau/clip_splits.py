"""Training, validation and test clips: the official folds, and a share of the training fold set aside by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from downstream.tau.benchmark import CLASSES, Clip
from shards.errors import UserError

_PURPOSE = 0x7A0
"""Keeps this draw apart from those of other splits."""


@dataclass(frozen=True)
class ClipSplit:
    """Clips by their use.

    Attributes:
        train: to fit on.
        val: to choose the best epoch by.
        test: to score on.
        name: as results show it.
    """

    train: list[Clip]
    val: list[Clip]
    test: list[Clip]
    name: str


def split_clips(
    fold: Sequence[Clip], test: Sequence[Clip], *, val_fraction: float, val_by: str, seed: int
) -> ClipSplit:
    """Sets a share of each class of the training fold aside, "approximately 10 %" in Chen et al. (2022), section 3.1.

    Args:
        fold: the official training fold.
        test: the official test fold.
        val_fraction: of each class; at least one clip or location of it is set aside, and one trains.
        val_by: "clip", or "location": clips of one place stay together.
        seed: of the draw, which does not depend on the clips' order.

    Raises:
        UserError: a class has a single clip or location.
    """
    generator = np.random.default_rng((seed, _PURPOSE))
    val: set[str] = set()
    for label in sorted({clip.label for clip in fold}):
        groups: dict[str, list[str]] = {}
        for clip in sorted((clip for clip in fold if clip.label == label), key=lambda clip: clip.key):
            groups.setdefault(clip.location if val_by == "location" else clip.key, []).append(clip.key)
        if len(groups) < 2:
            raise UserError(
                f"class {CLASSES[label]} has a single training {val_by}, a validation part needs another; add clips, "
                "or choose another --tau.val-by"
            )
        names = sorted(groups)
        wanted = min(len(groups) - 1, max(1, round(val_fraction * len(groups))))
        val |= {key for i in generator.permutation(len(names))[:wanted] for key in groups[names[i]]}
    return ClipSplit(
        [clip for clip in fold if clip.key not in val],
        [clip for clip in fold if clip.key in val],
        list(test),
        f"official folds; {val_fraction:.0%} of the training fold's {val_by}s of each class to choose by",
    )
