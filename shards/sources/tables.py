"""Reads a table file of any usual format: names of its columns, and its rows as text with their places in the file."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from shards.errors import UserError, first_line

FAULT = ""
"""The name under which a row holds what is wrong with it, such as "has more fields than there are columns"."""

IsKnown = Callable[[str], bool]
"""Whether a column of that name has a meaning; it decides between separators."""

_READERS = {
    "delimited": "shards.sources.delimited_text:read_delimited",
    "xlsx": "shards.sources.table_formats:read_xlsx",
    "parquet": "shards.sources.table_formats:read_parquet",
    "geojson": "shards.sources.geo_tables:read_geojson",
    "gpx": "shards.sources.geo_tables:read_gpx",
}

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".geojson", ".json", ".parquet", ".gpx")
"""Suffixes of table files, to name candidates; the content decides how a file is read."""


@dataclass(frozen=True)
class Table:
    """The rows of a table file, with all fields as text.

    Attributes:
        path: the file.
        columns: names of the columns, all different.
        rows: (place in the file, counted from 1; field of each column); `FAULT` names a row that is none.
        unit: what rows are counted in: line, row, feature or waypoint.
        notices: what the user should know of how the file was read, a sentence each.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    unit: str = "line"
    notices: tuple[str, ...] = ()


def read_table_file(path: Path, limit: int | None = None, is_known: IsKnown = lambda name: False) -> Table:
    """Reads CSV (and its kin), XLSX, GeoJSON, Parquet or GPX; the content decides which it is.

    Args:
        path: the file.
        limit: number of rows to read, None for all.
        is_known: decides between separators that both divide the header.

    Raises:
        UserError: the file can't be read, or its columns can't be told apart.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
        reader = resolve_name(_READERS[_format_of(path, head)])
        table: Table = reader(path, limit, is_known)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}; fix the file") from error
    return table


def _format_of(path: Path, head: bytes) -> str:
    """Name of the format in `_READERS`."""
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(f"{path} is a workbook of the old format .xls; save it as .xlsx or CSV")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") or path.suffix.lower() in (".geojson", ".json"):
        return "geojson"
    return "gpx" if start.startswith(b"<") or path.suffix.lower() == ".gpx" else "delimited"


def make_table(
    path: Path,
    header: Sequence[str],
    records: Iterable[tuple[int, Sequence[str]]],
    *,
    limit: int | None,
    unit: str,
    notices: Sequence[str] = (),
) -> Table:
    """Puts records under their columns; empty records are skipped, columns without a name or a value are dropped.

    Args:
        path: the file.
        header: names of the columns.
        records: (place in the file, fields); missing fields at the end are empty.
        limit: number of rows to read, None for all.
        unit: what records are counted in.
        notices: kept with the table.

    Raises:
        UserError: two columns have one name.
    """
    names = [" ".join(name.split()) for name in header]
    kept: list[tuple[int, list[str]]] = []
    for place, fields in records:
        if limit is not None and len(kept) >= limit:
            break
        stripped = [field.strip() for field in fields]
        if any(stripped):
            kept.append((place, stripped))
    used = [bool(name) or any(len(row) > at and row[at] for _, row in kept) for at, name in enumerate(names)]
    columns = [(at, name or f"column {at + 1}") for at, name in enumerate(names) if used[at]]
    seen = [name for _, name in columns]
    if len(set(seen)) < len(seen):
        twice = next(name for name in seen if seen.count(name) > 1)
        raise UserError(f"{path}: column {twice!r} appears twice; rename one of them")
    rows = []
    for place, fields in kept:
        row = {name: fields[at] if at < len(fields) else "" for at, name in columns}
        if any(fields[len(names) :]):
            row[FAULT] = "has more fields than there are columns"
        rows.append((place, row))
    return Table(path, tuple(seen), tuple(rows), unit, tuple(notices))


def text_of(value: Any) -> str:
    """A cell as text: whole numbers without ".0", dates in ISO 8601, nothing for None and NaN, lists as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def not_readable(path: Path, what: str, error: BaseException) -> UserError:
    """The error of a file that its library can't read."""
    return UserError(f"{path} can't be read as {what} ({first_line(error)}); save it again, or as CSV")
