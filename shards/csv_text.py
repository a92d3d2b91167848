"""CSV files that are safe to open: untrusted text is neither run by spreadsheets nor interpreted by terminals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from shards.untrusted_text import without_controls, without_surrogates

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t")
"""Characters that begin a formula in a spreadsheet; what a cell begins with after an apostrophe is shown as it is."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a line for the header and one for each row.

    Text that a spreadsheet would run as a formula gets an apostrophe before it, unless it is a number; control
    characters become U+FFFD. None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


def safe_cell(value: object) -> object:
    """A value as `csv_text` writes it into a cell."""
    if not isinstance(value, str):
        return value
    clean = without_surrogates(without_controls(value))
    return f"'{clean}" if clean.startswith(RUN_BY_SPREADSHEETS) and not _is_number(clean) else clean


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
