"""Turns the rows of a corpus's table into pairs with key, coordinates and properties, or into rejections."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from shards.errors import RejectedPair, UserError
from shards.schema import Pair, Rejection
from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, parse_coordinate
from shards.sources.keys import make_key
from shards.sources.source import Listing
from shards.sources.table_roles import Roles, Rows, find_roles, is_usual, plain_name
from shards.sources.tables import FAULT, TABLE_SUFFIXES, read_table_file

TABLE_NAME = "metadata.csv"

FindFile = Callable[[str, dict[str, str]], Path]
"""(text of the key, row) → file; raises RejectedPair if it is missing."""

Value = TypeVar("Value")

_FLOAT_KEY = re.compile(r"[0-9]+\.0")


@dataclass(frozen=True)
class MetadataTable:
    """The rows of a corpus's table, with all fields as text, and what its columns mean.

    Attributes:
        path: the file.
        columns: column names.
        rows: (place in the file, field of each column); `FAULT` names a row that is none.
        roles: which columns are key, coordinates, files and properties.
        unit: what rows are counted in: line, row, feature or waypoint.
        notices: what the user should know of how the table was read, a sentence each.
        has_float_keys: all keys are whole numbers with ".0", as data frames write them; it is left out.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Rows
    roles: Roles
    unit: str
    notices: tuple[str, ...]
    has_float_keys: bool = False

    def field(self, row: Mapping[str, str], role: str) -> str:
        """A row's field in the column of a role, "" if there is no such column."""
        column = self.roles.columns.get(role)
        return row.get(column, "") if column is not None else ""

    def key_text(self, row: Mapping[str, str]) -> str:
        """The text from which a row's key is made: that of the key column, else the name of its sound or image."""
        if "key" in self.roles.columns:
            key = self.field(row, "key")
            return key.removesuffix(".0") if self.has_float_keys else key
        name = self.field(row, self._naming_role).replace("\\", "/")
        stem, dot, _ = name.rpartition(".")
        return (stem if dot and "/" not in name[len(stem) :] else name).removeprefix("./")

    @property
    def _naming_role(self) -> str:
        """Of a table without keys, the file whose names are all different, else the first that it has."""
        present = [role for role in ("sound", "image") if role in self.roles.columns]
        for role in present:
            names = [name for _, row in self.rows if (name := self.field(row, role))]
            if len(set(names)) == len(names):
                return role
        return present[0]


def read_table(
    root: Path, limit: int | None = None, *, table: Path | None = None, columns: Mapping[str, str] | None = None
) -> MetadataTable:
    """Reads the table of a corpus.

    Args:
        root: folder of the corpus.
        limit: number of rows to read, None for all.
        table: the file, as it is or in `root`; by default `root/metadata.csv`.
        columns: column of each role that the user named.

    Raises:
        UserError: the folder or table is missing, unreadable or empty, or no column can be the key.
    """
    path = _find_table(root, table)
    named = {plain_name(name) for name in (columns or {}).values()}
    found = read_table_file(path, limit, lambda name: is_usual(name) or plain_name(name) in named)
    if not found.columns or not (found.rows or "key" in found.columns):
        raise UserError(f"{path} has no column 'key' and no rows; it needs a line of column names and one row per pair")
    roles = find_roles(str(path), found.columns, found.rows, columns)
    if not {"key", "sound", "image"} & roles.columns.keys():
        raise UserError(
            f"{path} has no column 'key'; its columns are: {', '.join(found.columns)}; name the one with the keys "
            "with --column key=NAME, or one with file names with --column sound=NAME"
        )
    if not found.rows:
        raise UserError(f"{path} has no rows; it needs one row per pair")
    notices = [*found.notices, *roles.notices()]
    made = MetadataTable(path, found.columns, found.rows, roles, found.unit, ())
    if "key" not in roles.columns:
        notices.append(f"{path.name} has no column of keys; keys are made from the names of the {made._naming_role}s")
    keys = [key for _, row in found.rows if (key := made.field(row, "key"))]
    has_float_keys = bool(keys) and all(_FLOAT_KEY.fullmatch(key) for key in keys)
    if has_float_keys:
        notices.append(f"keys are whole numbers: {keys[0]} is read as {keys[0].removesuffix('.0')}")
    return dataclasses.replace(made, notices=tuple(notices), has_float_keys=has_float_keys)


def _find_table(root: Path, table: Path | None) -> Path:
    """The file of the table.

    Raises:
        UserError: it or the folder is missing.
    """
    if not root.is_dir():
        raise UserError(f"--root {root}: no such folder; give the folder that holds {TABLE_NAME}")
    if table is not None:
        places = [table, root / table]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise UserError(f"--table {table}: no such file, and no {root / table}; give the file of the table")
        return path
    path = root / TABLE_NAME
    if not path.exists():
        others = sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() in TABLE_SUFFIXES)
        remedy = f"--table with one of: {', '.join(others[:5])}" if others else "the file with --table FILE"
        raise UserError(
            f"--root {root} has no {TABLE_NAME}; give the folder that holds {TABLE_NAME}, images/ and the sounds, or "
            f"{remedy}"
        )
    return path


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


def unrecognised_coordinates(table: MetadataTable) -> str:
    """A sentence on the coordinates that no column has, with the remedy; empty if both have one."""
    missing = [role for role in ("longitude", "latitude") if role not in table.roles.columns]
    if not missing:
        return ""
    remedy = " ".join(f"{role}=NAME" for role in missing)
    columns = ", ".join(table.columns)
    return f"no column was recognised as {' or '.join(missing)} (columns: {columns}): --column {remedy}"


def require_coordinates(table: MetadataTable, remedy: str = "") -> None:
    """Checks that a table has columns of longitude and latitude.

    Raises:
        UserError: one is missing; the message names the table's columns and the remedy.
    """
    if words := unrecognised_coordinates(table):
        raise UserError(f"{table.path}: {words}{remedy}")


def list_table(table: MetadataTable, find_image: FindFile, find_sound: FindFile) -> Listing:
    """Converts each row to a pair or a rejection; of several rows with the same key, the first is used.

    The details of these rejections are part of the checksum by which a build recognises its corpus: if their wording
    changes, a finished set with rejected rows is taken for one of another corpus.

    Args:
        table: the rows.
        find_image, find_sound: (text of the key, row) → file; they raise RejectedPair if it is missing.
    """
    pairs: list[Pair] = []
    rejected: list[Rejection] = []
    problems: list[tuple[int, Rejection]] = []
    place_of_key: dict[str, int] = {}
    for place, row in table.rows:
        found = _read_row(table, place, row, place_of_key, find_image, find_sound)
        if isinstance(found, Pair):
            pairs.append(found)
            continue
        text = table.key_text(row)
        listed = [Rejection(text, problem.reason, problem.detail) for problem in found]
        rejected.append(listed[0])
        problems += [(place, rejection) for rejection in listed]
    return Listing(tuple(pairs), tuple(rejected), table.columns, table.notices, tuple(problems), table.unit)


def _read_row(
    table: MetadataTable,
    place: int,
    row: dict[str, str],
    place_of_key: dict[str, int],
    find_image: FindFile,
    find_sound: FindFile,
) -> Pair | list[RejectedPair]:
    """The pair of a row, or everything that is wrong with it; a key that is used is added to `place_of_key`."""
    where = f"{table.unit} {place}"
    try:
        text, key = _key_of_row(table, where, row, place_of_key)
    except RejectedPair as rejection:
        return [rejection]
    place_of_key[key] = place
    problems: list[RejectedPair] = []

    def attempt(read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except RejectedPair as rejection:
            problems.append(rejection)
            return None

    image = attempt(lambda: find_image(text, row))
    sound = attempt(lambda: find_sound(text, row))
    # Only a TIFF can do without coordinates; of an image that is missing nobody knows.
    may_be_empty = image is None or is_tiff(image)
    coordinates = attempt(lambda: _coordinates(table, row, where, may_be_empty=may_be_empty))
    if image is None or sound is None or coordinates is None:
        return problems
    properties = _properties(table.roles, row) | ({} if key == text else {"original_key": text})
    return Pair(key, image, sound, *coordinates, properties, row, place)


def _key_of_row(
    table: MetadataTable, where: str, row: dict[str, str], place_of_key: Mapping[str, int]
) -> tuple[str, str]:
    """The text of a row's key, and the key made from it.

    Raises:
        RejectedPair: the row is none, the key is empty, or an earlier row has it.
    """
    if FAULT in row:
        raise RejectedPair("malformed row", f"{where} {row[FAULT]}")
    text = table.key_text(row)
    if not text:
        raise RejectedPair("invalid key", f"{where}: the key is empty")
    key = make_key(text)
    if key in place_of_key:
        raise RejectedPair("duplicate key", f"{where}: key {text} stands on {table.unit} {place_of_key[key]} already")
    return text, key


def _coordinates(
    table: MetadataTable, row: dict[str, str], where: str, *, may_be_empty: bool
) -> tuple[float | None, float | None]:
    texts = table.field(row, "longitude"), table.field(row, "latitude")
    if may_be_empty and not any(texts):
        return None, None
    if not all(texts):
        raise RejectedPair("missing coordinates", f"{where}: longitude {texts[0]!r}, latitude {texts[1]!r}")
    try:
        longitude, latitude = parse_coordinate(texts[0], LONGITUDE_AXIS), parse_coordinate(texts[1], LATITUDE_AXIS)
    except ValueError as error:
        raise RejectedPair("unreadable coordinates", f"{where}: {error}") from error
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


def _properties(roles: Roles, row: dict[str, str]) -> dict[str, str]:
    found = ((name, next((row[column] for column in columns if row[column]), "")) for name, columns in
             roles.properties.items())  # fmt: skip
    return {name: value for name, value in found if value}


def is_tiff(path: Path) -> bool:
    """Whether the file is named like a TIFF or JPEG 2000, which may be georeferenced."""
    return path.suffix.lower() in (".tif", ".tiff", ".jp2", ".j2k")
