"""The table of an unpacked set: which of its fields are keys, coordinates and properties, and its own splits."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.atomic_files import write_text_atomically
from shards.errors import UserError
from shards.sources.metadata_table import TABLE_NAME
from shards.sources.table_roles import Roles, find_roles, property_names
from shards.unpacking.folder import Row
from shards.unpacking.samples import PackedFile
from shards.unpacking.splits_in_names import split_named

KEY, IMAGE, SOUND, SPLIT, REASON, DETAIL = "key", "image", "mp3name", "split", "unpacked_reason", "unpacked_detail"
PLACE = ("longitude", "latitude")
OWN_COLUMNS = (KEY, IMAGE, SOUND, *PLACE, SPLIT, REASON, DETAIL)
TIFF_SUFFIXES = (".tif", ".jp2", ".j2k")


@dataclass(frozen=True)
class Fields:
    """What the fields of a foreign set mean.

    Attributes:
        where: the set, for messages.
        given: field of each role that the user named.
        finds_key: whether a field that is usually named so is the key; otherwise the samples' own keys are.
        option: the option that says what a field means.
    """

    where: str
    given: Mapping[str, str]
    finds_key: bool
    option: str = "--column longitude=NAME latitude=NAME"


def roles_in(rows: Sequence[Row], fields: Fields) -> Roles:
    """Which fields are the key, the coordinates and the properties.

    Raises:
        UserError: a field that the user named does not exist, several fit a role equally well, or there are no
            coordinates and the images can't have any.
    """
    names = tuple(dict.fromkeys(name for row in rows for name in row.fields))
    records = [(number, {name: row.fields.get(name, "") for name in names}) for number, row in enumerate(rows, 1)]
    given = {role: name for role, name in fields.given.items() if role not in ("image", "sound")}
    sought = (*PLACE, *(["key"] if fields.finds_key or "key" in given else []))
    roles = find_roles(fields.where, names, records, given, sought=sought)
    if not set(PLACE) <= roles.columns.keys():
        # Without the names of the records that they are in, unless two fields then have one name.
        counts = Counter(name.rpartition(".")[2] for name in names)
        full = {short: name for name in names if counts[short := name.rpartition(".")[2]] == 1}
        shortened = [(number, {short: record[name] for short, name in full.items()}) for number, record in records]
        inner = find_roles(fields.where, tuple(full), shortened, {}, sought=PLACE)
        if set(PLACE) <= inner.columns.keys():
            found = {role: full[inner.columns[role]] for role in PLACE}
            roles = Roles({**roles.columns, **found}, roles.properties, (*roles.guessed, *found))
    if not set(PLACE) <= roles.columns.keys() and not any(row.image.endswith(TIFF_SUFFIXES) for row in rows):
        listed = ", ".join(names[:30]) or "none"
        raise UserError(
            f"{fields.where} has no longitude and latitude, which only GeoTIFF images can do without; say which fields "
            f"they are with {fields.option}; its fields are: {listed}"
        )
    return roles


def write_table(folder: Path, files: Sequence[PackedFile], rows: Sequence[Sequence[Row]], fields: Fields) -> list[str]:
    """Writes `metadata.csv` of an unpacked set.

    Args:
        folder: of the set.
        files: its files.
        rows: the rows of each file.
        fields: what its fields mean.

    Returns:
        What the user should know of how the set was read, a sentence each.

    Raises:
        UserError: see `roles_in`.
    """
    everything = [row for of_file in rows for row in of_file]
    roles = roles_in(everything, fields)
    notices = roles.notices()
    keys, words = _keys(files, rows, roles.columns.get("key"))
    splits, more = _splits(files, rows)
    properties = tuple(name for name in property_names() if name in roles.properties)
    # Other fields keep a column of their own name, to split by, whatever they mean beside.
    used = {roles.columns.get(role) for role in (*PLACE, "key")} | {*roles.properties.get("description", ())}
    rest = _other_columns(everything, {*OWN_COLUMNS, *properties}, used)
    header = [*OWN_COLUMNS, *properties, *rest.values()]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(header)
    for row, key, split in zip(everything, keys, splits, strict=True):
        place = [row.fields.get(roles.columns.get(role, ""), "") for role in PLACE]
        known = [_first(row, roles.properties[name]) for name in properties]
        others = [row.fields.get(name, "") for name in rest]
        writer.writerow([key, row.image, row.sound, *place, split, row.reason, row.detail, *known, *others])
    write_text_atomically(folder / TABLE_NAME, lines.getvalue())
    return [*notices, *words, *more]


def _first(row: Row, names: Sequence[str]) -> str:
    return next((row.fields[name] for name in names if row.fields.get(name)), "")


def _keys(
    files: Sequence[PackedFile], rows: Sequence[Sequence[Row]], column: str | None
) -> tuple[list[str], list[str]]:
    """The key of each row: its field, else its own; with the name of its file where keys repeat across files."""
    own = [[row.fields.get(column, "") if column else row.key for row in of_file] for of_file in rows]
    num_files_of = Counter(key for of_file in own for key in dict.fromkeys(of_file) if key)
    if not any(count > 1 for count in num_files_of.values()):
        return [key for of_file in own for key in of_file], []
    stems = [file.shown.partition(".")[0] if file.shown.count(".") == 1 else file.shown for file in files]
    example = next(key for key, count in num_files_of.items() if count > 1)
    words = f"keys repeat across files ({example}), so the name of the file is put before each"
    return [f"{stem}/{key}" if key else "" for stem, of_file in zip(stems, own, strict=False) for key in of_file], [
        words
    ]


def _splits(files: Sequence[PackedFile], rows: Sequence[Sequence[Row]]) -> tuple[list[str], list[str]]:
    """The split of each row: as its field `split` says, else as the name of its file; "" for all if any lacks one."""
    stated = [split_named(row.fields.get(SPLIT, "")) for of_file in rows for row in of_file]
    if stated and all(stated):
        return [split or "" for split in stated], []
    named = [file.split for file, of_file in zip(files, rows, strict=False) for _ in of_file]
    if all(named):
        return [split or "" for split in named], []
    if not any(named):
        return [""] * len(named), []
    other = next(file.shown for file, of_file in zip(files, rows, strict=False) if of_file and not file.split)
    words = f"the name of {other} says no split, those of other files do: splits in names are not used"
    return [""] * len(named), [words]


def _other_columns(rows: Sequence[Row], taken: set[str], used: set[str | None]) -> dict[str, str]:
    """Columns of the other fields by field; a name that another column has gets an underscore."""
    columns: dict[str, str] = {}
    for name in dict.fromkeys(name for row in rows for name in row.fields):
        if name in used or name == SPLIT:
            continue
        column = name
        while column in taken:
            column += "_"
        taken.add(column)
        columns[name] = column
    return columns
