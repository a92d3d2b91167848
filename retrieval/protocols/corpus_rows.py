"""A row of a corpus's table as the split of a protocol sees it, and pandas' way of shuffling rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from shards.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class CorpusRow:
    """A row.

    Attributes:
        key: of the pair.
        columns: name of each column → text.
        place: longitude and latitude in degrees; None if there are none.
        is_left_out: whether the user left it out, as for a sound that can't be decoded. A protocol drops such rows
            where its authors did.
    """

    key: str
    columns: Mapping[str, str]
    place: tuple[float, float] | None
    is_left_out: bool = False

    def number(self, column: str) -> float:
        """The number in a column, NaN if the field is empty.

        Raises:
            UserError: there is no such column, or the field is no number.
        """
        if column not in self.columns:
            raise UserError(
                f"the table has no column {column!r}, by which this protocol selects rows; its columns are: "
                f"{', '.join(self.columns)}"
            )
        try:
            return float(self.columns[column] or math.nan)
        except ValueError as error:
            raise UserError(
                f"{column} must be a number, got {self.columns[column]!r} for key {self.key}; correct the row or empty "
                "the field"
            ) from error

    def known_place(self) -> tuple[float, float]:
        """Longitude and latitude.

        Raises:
            UserError: there are none.
        """
        if self.place is None:
            raise UserError(
                f"this protocol splits by place, but key {self.key} has no longitude and latitude within range; "
                "correct the row, or leave it out with --without"
            )
        return self.place


def sample(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """`count` of the items in random order: the rows that `DataFrame.sample(n=count, random_state=seed)` gives."""
    return [items[number] for number in np.random.RandomState(seed).permutation(len(items))[:count]]


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """All items in random order: the rows that `DataFrame.sample(frac=1, random_state=seed)` gives."""
    return sample(items, len(items), seed)
