"""The file of human corrections: a table with the columns key and label, which wins over OpenStreetMap."""

from __future__ import annotations

from pathlib import Path

from shards.collecting.advance.label_table import CLASS_NAME
from shards.errors import UserError
from shards.records import shown
from shards.sources.tables import FAULT, read_table_file

DROPPED = ""
"""The label of a row that a person took out."""

COLUMNS = ("key", "label")


def read_corrections(path: Path | None) -> dict[str, str]:
    """Label of each key that a person has corrected; an empty one takes the row out.

    Args:
        path: CSV, XLSX or Parquet with the columns key and label; None: no corrections.

    Raises:
        UserError: the file is not such a table, a key appears twice, or a label can't be the name of a class.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise UserError(f"--corrections {path}: no such file; give a table with the columns key and label")
    table = read_table_file(path, None, lambda name: name in COLUMNS)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise UserError(f"--corrections {path} has no column {missing[0]!r}; it needs the columns key and label")
    found: dict[str, str] = {}
    for place, row in table.rows:
        where = f"--corrections {path}: {table.unit} {place}"
        if FAULT in row:
            raise UserError(f"{where} {row[FAULT]}; it needs the columns key and label")
        key, label = row["key"], row["label"]
        if key in found:
            raise UserError(f"{where}: key {shown(key)} appears twice; keep one of the two rows")
        if label and not CLASS_NAME.fullmatch(label):
            raise UserError(f"{where}: label must be a class of up to 60 letters, digits, spaces, _ and -, or empty "
                            f"to take the row out, got {shown(label)}")  # fmt: skip
        found[key] = label
    return found
