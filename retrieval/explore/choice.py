"""Which pairs of an atlas a visitor searches: those of some labels and some splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.explore.atlas import Atlas

NO_LABEL = -1


@dataclass(frozen=True)
class Choice:
    """Labels and splits that were chosen; an empty choice is everything.

    Attributes:
        labels: indices into the atlas's `label_names`, or `NO_LABEL`.
        splits: names of splits.
    """

    labels: tuple[int, ...] = ()
    splits: tuple[str, ...] = ()

    @classmethod
    def of(cls, labels: Any, splits: Any) -> Choice:
        """The choice in what a browser sent, which may be anything: what is no label or split is left out."""
        found = labels if isinstance(labels, list) else []
        names = splits if isinstance(splits, list) else []
        return cls(
            tuple(label for label in found if type(label) is int), tuple(name for name in names if type(name) is str)
        )

    def mask(self, atlas: Atlas) -> NDArray[np.bool_] | None:
        """(n,) whether each pair is among the chosen ones; None if all are."""
        splits, ends = atlas.numbers.splits, atlas.numbers.ends
        chosen = [split in self.splits for split in splits]
        mask = np.ones(len(atlas), bool)
        if any(chosen) and not all(chosen):
            for is_chosen, start, end in zip(chosen, (0, *ends[:-1]), ends, strict=True):
                mask[start:end] = is_chosen
        if self.labels:
            mask &= np.isin(atlas.labels, self.labels)
        return None if mask.all() else mask


def label_choices(atlas: Atlas) -> list[tuple[str, int]]:
    """The labels with the count of their pairs, by name, and last of pairs without a label; none without labels."""
    found, counts = np.unique(atlas.labels, return_counts=True)
    known = dict(zip(found.tolist(), counts.tolist(), strict=True))
    named = sorted(
        (f"{atlas.label_names[label].replace('_', ' ')} ({count:,})", label)
        for label, count in known.items()
        if label >= 0
    )
    without = [(f"no label ({known[NO_LABEL]:,})", NO_LABEL)] if NO_LABEL in known else []
    return named + without if named else []


def split_choices(atlas: Atlas) -> list[tuple[str, str]]:
    """The splits with the count of their pairs; none if there is only one."""
    splits, ends = atlas.numbers.splits, atlas.numbers.ends
    counts = np.diff((0, *ends)).tolist()
    named = [(f"{split} ({count:,})", split) for split, count in zip(splits, counts, strict=True) if count]
    return named if len(named) > 1 else []
