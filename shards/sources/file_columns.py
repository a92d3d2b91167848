"""Finds the column of a table whose values are names of existing files, for the message that no column is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from shards.data_files import data_files_below
from shards.sources.table_roles import Rows

LOOKED_AT = 200
"""Rows that are looked at."""


def column_of_files(root: Path, columns: Sequence[str], rows: Rows, suffixes: tuple[str, ...]) -> str | None:
    """The column most of whose values are names of files below a folder; None if there is none.

    Args:
        root: the folder.
        columns: names of the columns.
        rows: the rows; the first 200 decide.
        suffixes: of the files, in lower case. Names in the table may lack suffix and folder, and have any case.
    """
    files = data_files_below(root, suffixes)
    known = {word.casefold() for path in files for word in (path.name, path.stem)}
    found = {}
    for column in columns:
        values = [value for _, row in islice(rows, LOOKED_AT) if (value := row.get(column, ""))]
        names = [PurePosixPath(value.replace("\\", "/")).name.casefold() for value in values]
        found[column] = sum(name in known for name in names) / max(1, len(names))
    best = max(columns, key=lambda column: found[column], default=None)
    return best if best is not None and 2 * found[best] >= 1 else None
