"""`rejected.csv`: which pairs were rejected and why; stops the build when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text
from shards.errors import UserError
from shards.schema import Rejection

REJECTED_NAME = "rejected.csv"

JUDGED_EARLY_FROM_ROWS = 1000
"""A smaller corpus is always read to the end, so that its list of rejected pairs is complete."""


class TooManyRejectedError(UserError):
    """A build can't succeed with these options: too many pairs are rejected, or none is left for training."""


def check_rejected(out: Path, num_rows: int, rejected: Sequence[Rejection], most: float) -> None:
    """Writes the complete list of rejected pairs, and stops the build if there are too many.

    Raises:
        TooManyRejectedError: their share of the rows is above `most`.
    """
    _write_list(out, rejected)
    if len(rejected) > most * num_rows:
        raise TooManyRejectedError(
            f"{len(rejected)} of {num_rows} pairs are rejected ({len(rejected) / num_rows:.1%}), above --max-rejected "
            f"{most:g}; most common reason: {_most_often(rejected)}; see {out / REJECTED_NAME}, and fix the corpus "
            "(--check lists every problem and what to do) or allow a larger share"
        )


def check_listed(out: Path, num_rows: int, rejected: Sequence[Rejection], most: float) -> None:
    """Stops the build if too many rows were rejected while listing; otherwise writes nothing.

    Raises:
        TooManyRejectedError: as `check_rejected`.
    """
    if len(rejected) > most * num_rows:
        check_rejected(out, num_rows, rejected, most)


def check_rejected_so_far(out: Path, num_rows: int, rejected: Sequence[Rejection], most: float) -> None:
    """Stops the build of a large corpus as soon as too many pairs are rejected, after writing the list so far.

    The contents of that list depend on which shards were finished first.

    Raises:
        TooManyRejectedError: their share of all rows, read or not, is above `most`.
    """
    if num_rows >= JUDGED_EARLY_FROM_ROWS and len(rejected) > most * num_rows:
        _write_list(out, rejected)
        raise TooManyRejectedError(
            f"{len(rejected)} of {num_rows} pairs are rejected so far, more than --max-rejected {most:g} allows, so "
            f"the build stopped early; most common reason: {_most_often(rejected)}; see {out / REJECTED_NAME} for the "
            "list so far, and fix the corpus or allow a larger share; finished shards are kept"
        )


def _write_list(out: Path, rejected: Sequence[Rejection]) -> None:
    rows = ((rejection.key, rejection.reason, rejection.detail) for rejection in rejected)
    write_text_atomically(out / REJECTED_NAME, csv_text(("key", "reason", "detail"), rows))


def _most_often(rejected: Sequence[Rejection]) -> str:
    (reason, count), *_ = Counter(rejection.reason for rejection in rejected).most_common(1)
    return f"{reason} ({count})"
