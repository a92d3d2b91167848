"""Parses `metadata.csv`: each row becomes a pair with key, coordinates and properties, or a rejection."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shards.data_files import data_files
from shards.errors import RejectedPair, UserError
from shards.schema import MAX_KEY_CHARACTERS, Pair, Rejection, is_valid_key
from shards.sources.source import Listing

TABLE_NAME = "metadata.csv"

PROPERTY_OF_COLUMN = {
    "label": "label",
    "scene": "label",
    "title": "title",
    "description": "description",
    "creator": "creator",
    "licence": "licence",
    "license": "licence",
    "licenseurl": "licence",
    "date_recorded": "date_recorded",
    "recording": "recording",
    "long_key": "long_key",
}
"""Maps columns to names in a sample's JSON; if several columns have the same name, the first with a value is used."""


@dataclass(frozen=True)
class MetadataTable:
    """The rows of a `metadata.csv`, with all fields as text.

    Attributes:
        path: the file.
        columns: column names.
        rows: (line in the file, field of each column); a field named "" means that the row has too many fields.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


def read_table(root: Path, limit: int | None = None) -> MetadataTable:
    """Reads `root/metadata.csv`, UTF-8, separated by comma, semicolon or tab.

    Args:
        root: folder of the corpus.
        limit: number of rows to read, None for all.

    Raises:
        UserError: the folder or table is missing, unreadable or empty, has no column `key`, or a duplicate column.
    """
    path = root / TABLE_NAME
    if not root.is_dir():
        raise UserError(f"--root {root}: no such folder; give the folder that holds {TABLE_NAME}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns, rows = _read_rows(file.read(), limit)
    except FileNotFoundError as error:
        raise UserError(
            f"--root {root} has no {TABLE_NAME}; give the folder that holds {TABLE_NAME}, images/ and the sounds"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} can't be read: {error}; fix the file") from error
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise UserError(f"{path}: column {twice!r} appears twice; rename one of them")
    if "key" not in columns:
        raise UserError(f"{path} has no column 'key'; its columns are: {', '.join(columns) or 'none'}")
    if not rows:
        raise UserError(f"{path} has no rows; it needs one row per pair")
    return MetadataTable(path, columns, rows)


def _read_rows(text: str, limit: int | None) -> tuple[tuple[str, ...], tuple[tuple[int, dict[str, str]], ...]]:
    first_line = text.partition("\n")[0]
    separator = next((mark for mark in ",;\t" if mark in first_line), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns = tuple(name.strip() for name in next(reader, []))
    rows: list[tuple[int, dict[str, str]]] = []
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        if limit is not None and len(rows) >= limit:
            break
        row = dict.fromkeys(columns, "") | dict(zip(columns, (field.strip() for field in fields), strict=False))
        if len(fields) > len(columns):
            row[""] = fields[len(columns)]
        rows.append((reader.line_num, row))
    return columns, tuple(rows)


def require_columns(table: MetadataTable, names: tuple[str, ...], remedy: str) -> None:
    """Checks that a table has all these columns.

    Raises:
        UserError: a column is missing; the message names it and the remedy.
    """
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise UserError(
            f"{table.path} has no column {' and no column '.join(map(repr, missing))}; {remedy}; "
            f"its columns are: {', '.join(table.columns)}"
        )


def list_table(table: MetadataTable, find_files: Callable[[str, dict[str, str]], tuple[Path, Path]]) -> Listing:
    """Converts each row to a pair or a rejection; of several rows with the same key, the first is used.

    The details of these rejections are part of the checksum by which a build recognises its corpus: if their wording
    changes, a finished set with rejected rows is taken for one of another corpus.

    Args:
        table: the rows.
        find_files: (key, row) → (image, sound); raises RejectedPair if one is missing.
    """
    pairs: list[Pair] = []
    rejected: list[Rejection] = []
    line_of_key: dict[str, int] = {}
    for line, row in table.rows:
        key = row["key"]
        try:
            _check_row(key, row, line)
            if key in line_of_key:
                raise RejectedPair("duplicate key", f"line {line}: key {key} stands on line {line_of_key[key]} already")
            line_of_key[key] = line
            image, sound = find_files(key, row)
            longitude, latitude = _coordinates(row, line, may_be_empty=is_tiff(image))
            pairs.append(Pair(key, image, sound, longitude, latitude, _properties(row), row))
        except RejectedPair as rejection:
            rejected.append(Rejection(key, rejection.reason, rejection.detail))
    return Listing(tuple(pairs), tuple(rejected), table.columns)


def _check_row(key: str, row: dict[str, str], line: int) -> None:
    if "" in row:
        raise RejectedPair("malformed row", f"line {line} has more fields than there are columns")
    if not is_valid_key(key):
        raise RejectedPair("invalid key", f"line {line}: key {key!r} must be of letters A-Z, digits, _ and - alone")
    if len(key) > MAX_KEY_CHARACTERS:
        raise RejectedPair("invalid key", f"line {line}: key {key!r} is longer than {MAX_KEY_CHARACTERS} characters")


def _coordinates(row: dict[str, str], line: int, *, may_be_empty: bool) -> tuple[float | None, float | None]:
    texts = row.get("longitude", ""), row.get("latitude", "")
    if may_be_empty and not any(texts):
        return None, None
    if not all(texts):
        raise RejectedPair("missing coordinates", f"line {line}: longitude {texts[0]!r}, latitude {texts[1]!r}")
    try:
        longitude, latitude = (float(text) for text in texts)
    except ValueError as error:
        raise RejectedPair("unreadable coordinates", f"line {line}: {error}") from error
    check_coordinates(longitude, latitude)
    return longitude, latitude


def check_coordinates(longitude: float, latitude: float) -> None:
    """Rejects coordinates that are out of range.

    Raises:
        RejectedPair: longitude not within [-180, 180] or latitude not within [-90, 90].
    """
    if not (math.isfinite(longitude) and -180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise RejectedPair(
            "coordinates out of range",
            f"longitude {longitude} must be within [-180, 180] and latitude {latitude} within [-90, 90]",
        )


def _properties(row: dict[str, str]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for column, name in PROPERTY_OF_COLUMN.items():
        if row.get(column):
            properties.setdefault(name, row[column])
    return properties


def is_tiff(path: Path) -> bool:
    """Whether the file is named like a TIFF or JPEG 2000, which may be georeferenced."""
    return path.suffix.lower() in (".tif", ".tiff", ".jp2", ".j2k")


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by stem; if several have the same stem, the one whose suffix is listed first is used.

    Raises:
        UserError: the folder is missing or can't be read.
    """
    found: dict[str, tuple[int, str, Path]] = {}
    try:
        for path in data_files(folder, suffixes):
            candidate = (suffixes.index(path.suffix.lower()), path.name, path)
            found[path.stem] = min(found.get(path.stem, candidate), candidate)
    except OSError as error:
        raise UserError(
            f"{folder} can't be listed ({error.strerror}); a corpus has {TABLE_NAME} and {folder.name}/ in its --root"
        ) from error
    return {stem: path for stem, (_, _, path) in found.items()}
