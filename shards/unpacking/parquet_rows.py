"""Reads the rows of a Parquet file in small batches: image and sound, embedded or named by a path, and fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES
from shards.errors import RejectedPair, UserError, first_line
from shards.records import shortened
from shards.unpacking.contents import kind_of
from shards.unpacking.fields import fields_of
from shards.unpacking.parquet_columns import Columns
from shards.unpacking.samples import Content, ForeignSample, PackedFile

ROWS_AT_ONCE = 16
"""A few rows of images and sounds; a row group has up to a thousand, and would be held in memory as a whole."""
BUFFER_BYTES = 1 << 20
MOST_LETTERS = 300
"""Of a path in a message."""


@dataclass(frozen=True)
class MediaFolder:
    """The folder in which files that rows name are looked for.

    Attributes:
        root: of the corpus.
        follow_links: whether symbolic links may lead out of it.
    """

    root: Path
    follow_links: bool = False

    def find(self, name: str, beside: Path, kind: str) -> Path:
        """The file of a name, relative to the folder of the Parquet file or to that of the corpus.

        Raises:
            RejectedPair: it is missing, or not within the corpus.
        """
        shown = shortened(repr(name), MOST_LETTERS)
        clean = name.replace("\\", "/") if PureWindowsPath(name).drive == "" else name
        if "\0" in clean or "://" in clean:
            raise RejectedPair(f"missing {kind}", f"{shown} is no name of a file; embed the {kind}s")
        inside = self.root.resolve()
        for place in (beside.parent / clean, self.root / clean):
            written = Path(*_without_dots(place.absolute()))
            if not place.is_file():
                continue
            target = place.resolve()
            is_inside = target.is_relative_to(inside) or (
                self.follow_links and written.is_relative_to(self.root.absolute())
            )
            if not is_inside:
                raise RejectedPair(f"{kind} outside the folder", f"{shown} is not within {self.root.name}")
            return target
        raise RejectedPair(f"missing {kind}", f"{shown}: neither embedded nor a file of the folder")


def read_rows(file: PackedFile, columns: Columns, folder: MediaFolder) -> Iterator[ForeignSample]:
    """Reads a Parquet file from start to end; never a row group as a whole.

    Raises:
        UserError: the file can't be read, or has other columns.
    """
    import pyarrow
    import pyarrow.parquet

    path = Path(file.name)
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as parquet:
            missing = [name for name in columns.read if name not in parquet.schema_arrow.names]
            if missing:
                raise UserError(
                    f"{file.shown} has no column {missing[0]!r}, which the first file has; give --root the folder of "
                    "one configuration of the data set"
                )
            number = 0
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=columns.read, use_threads=False):
                for row in _rows_of(batch):
                    yield _sample(number, row, columns, folder, path)
                    number += 1
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file.shown} can't be read as Parquet: {first_line(error)}; download it again") from error


def _rows_of(batch: Any) -> Iterator[dict[str, Any]]:
    import numpy as np
    from pyarrow import types

    columns: dict[str, list[Any]] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        values = column.to_pylist()
        if types.is_float32(field.type):
            # 48.1527, not 48.15269851684570, which is the same number in 64 bits.
            values = [None if value is None else str(np.float32(value)) for value in values]
        columns[field.name] = values
    for number in range(batch.num_rows):
        yield {name: values[number] for name, values in columns.items()}


def _sample(number: int, row: dict[str, Any], columns: Columns, folder: MediaFolder, path: Path) -> ForeignSample:
    fields = fields_of({name: row[name] for name in columns.fields})
    found: dict[str, Content | None] = {}
    reason = detail = ""
    for kind, name in (("image", columns.image), ("sound", columns.sound)):
        try:
            found[kind] = _content(row[name], folder, path, kind)
        except RejectedPair as rejection:
            found[kind] = None
            reason, detail = reason or rejection.reason, detail or rejection.detail
    return ForeignSample(f"row {number}", found["image"], found["sound"], fields, reason, detail)


def _content(value: Any, folder: MediaFolder, path: Path, kind: str) -> Content | None:
    content, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(content, str):
        content, name = None, content
    suffixes = IMAGE_SUFFIXES if kind == "image" else SOUND_SUFFIXES
    if isinstance(content, bytes) and content:
        known = kind_of(content)
        return Content(content, known[1] if known else _suffix(name, suffixes))
    if not isinstance(name, str) or not name.strip():
        return None
    found = folder.find(name.strip(), path, kind)
    return Content(found, _suffix(found.name, suffixes))


def _suffix(name: Any, suffixes: tuple[str, ...]) -> str:
    suffix = Path(name).suffix.lower() if isinstance(name, str) else ""
    return suffix if suffix in suffixes else ".bin"


def _without_dots(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part != "..":
            parts.append(part)
    return parts
