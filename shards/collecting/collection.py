"""The tables of a collection: metadata.csv, excluded.csv, and the order of rows that both share."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text, safe_cell
from shards.errors import UserError
from shards.schema import Rejection
from shards.sources.keys import make_key
from shards.sources.metadata_table import TABLE_NAME, MetadataTable, read_table
from shards.sources.tables import FAULT, read_table_file

EXCLUDED_NAME = "excluded.csv"
_WHO, _WHY, _ROW = "excluded_by", "excluded_because", "excluded_row"
"""Columns of excluded.csv beside those of the metadata: the command, the reason, and the row among all rows."""


@dataclass
class Row:
    """A recording.

    Attributes:
        key: its key.
        fields: text of each column.
        excluded_by: the command that excluded it, "" if it is included.
        excluded_because: why.
    """

    key: str
    fields: dict[str, str] = field(default_factory=dict)
    excluded_by: str = ""
    excluded_because: str = ""

    def exclude(self, by: str, because: str) -> None:
        """Takes it out of the metadata; `include` puts it back."""
        self.excluded_by, self.excluded_because = by, because

    def include(self) -> None:
        """Puts it back."""
        self.excluded_by = self.excluded_because = ""


@dataclass
class Collection:
    """All rows of a collection, included and excluded, in their order.

    Attributes:
        root: its folder.
        columns: of the metadata.
        rows: the recordings.
        table: the metadata as it was read; None where there is none yet.
    """

    root: Path
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    table: MetadataTable | None = None

    @classmethod
    def load(cls, root: Path) -> Collection:
        """Reads the tables of a folder.

        Raises:
            UserError: there is no metadata.csv, or a row of it is none, or has no key of its own.
        """
        if not (root / TABLE_NAME).is_file():
            raise UserError(
                f"{root} has no {TABLE_NAME}; give the folder of a collection, or of a corpus with that table"
            )
        excluded = _read_excluded(root / EXCLUDED_NAME)
        if excluded and _has_no_rows(root / TABLE_NAME):
            return cls(root, list(excluded[0][1].fields), [row for _, row in excluded])
        table = read_table(root)
        rows: dict[str, Row] = {}
        for place, fields in table.rows:
            text = table.key_text(fields)
            fault = fields.get(FAULT, "") or ("" if text else "has no key")
            if not fault and make_key(text) in rows:
                fault = f"has the key {text} of another line"
            if fault:
                raise UserError(f"{root / TABLE_NAME}: {table.unit} {place} {fault}; fix it first")
            rows[make_key(text)] = Row(make_key(text), dict(fields))
        columns, ordered = list(table.columns), list(rows.values())
        # A row in both was being put back, or taken out, when the command was killed: it is still in.
        for number, row in excluded:
            if row.key not in rows:
                ordered.insert(min(number, len(ordered)), row)
                columns += [name for name in row.fields if name not in columns]
        return cls(root, columns, ordered, table)

    @classmethod
    def load_or_begin(cls, root: Path) -> Collection:
        """As `load`; an empty one where there is no metadata.csv yet."""
        return cls.load(root) if (root / TABLE_NAME).exists() else cls(root)

    def field(self, row: Row, role: str) -> str:
        """A row's field in the column of a role, "" if there is none."""
        name = self.table.roles.columns.get(role, role) if self.table else role
        return row.fields.get(name, "")

    @property
    def included(self) -> list[Row]:
        """The rows of the metadata."""
        return [row for row in self.rows if not row.excluded_by]

    def add(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Adds rows at the end; those whose key is known, included or excluded, stay as they are."""
        known = {row.key for row in self.rows}
        for given in rows:
            key = make_key(given["key"])
            if key not in known:
                known.add(key)
                self.rows.append(Row(key))
                self.set_fields(self.rows[-1], given)

    def set_fields(self, row: Row, fields: Mapping[str, str]) -> None:
        """Sets fields of a row; new columns are added at the end."""
        row.fields.update({name: str(safe_cell(value)) for name, value in fields.items()})
        self.columns += [name for name in fields if name not in self.columns]

    def save(self) -> None:
        """Writes both tables; killed at any moment, no row is lost."""
        excluded = [(n, row) for n, row in enumerate(self.rows) if row.excluded_by]
        path = self.root / EXCLUDED_NAME
        before = {row.key: row for _, row in _read_excluded(path)}
        restored = [
            (n, dataclasses.replace(before[row.key], fields=row.fields))
            for n, row in enumerate(self.rows)
            if row.key in before and not row.excluded_by
        ]
        if excluded or restored:
            self._write_excluded(path, sorted([*excluded, *restored], key=lambda each: each[0]))
        text = _table_text(self.columns, [[row.fields.get(name, "") for name in self.columns] for row in self.included])
        write_text_atomically(self.root / TABLE_NAME, text)
        if restored:
            self._write_excluded(path, excluded)

    def _write_excluded(self, path: Path, rows: Sequence[tuple[int, Row]]) -> None:
        lines = [
            [str(number), row.excluded_by, str(safe_cell(row.excluded_because))]
            + [row.fields.get(name, "") for name in self.columns]
            for number, row in rows
        ]
        write_text_atomically(path, _table_text([_ROW, _WHO, _WHY, *self.columns], lines))


def write_rejected(path: Path, rejected: Iterable[Rejection]) -> None:
    """Writes a table of what could not be taken: identifier, reason and detail."""
    rows = ((rejection.key, rejection.reason, rejection.detail) for rejection in rejected)
    write_text_atomically(path, csv_text(("identifier", "reason", "detail"), rows))


def _table_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV of cells that are as they were read, or were made safe before."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _has_no_rows(path: Path) -> bool:
    """Whether a table has columns and nothing else."""
    return not read_table_file(path, 1, lambda name: name == "key").rows


def _read_excluded(path: Path) -> list[tuple[int, Row]]:
    """Place among all rows, and row, of each excluded recording, in order.

    Raises:
        UserError: the file is not as it was written.
    """
    if not path.exists():
        return []
    table = read_table_file(path, None, lambda name: name in (_ROW, _WHO, "key"))
    if not table.columns:
        return []
    missing = [name for name in (_ROW, _WHO, _WHY) if name not in table.columns]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; restore it from a copy, or move it away")
    found = []
    for place, fields in table.rows:
        number, who, why = (fields.pop(name) for name in (_ROW, _WHO, _WHY))
        key = fields.get("key", "")
        if not number.isdecimal() or not who or not key:
            raise UserError(f"{path}: line {place} lacks its row, command or key; restore it from a copy")
        found.append((int(number), Row(make_key(key), fields, who, why)))
    return sorted(found, key=lambda each: each[0])
