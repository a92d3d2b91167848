"""Parquet files as the hub has them: columns of images and sounds, embedded or named by path, and of metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from shards.data_files import data_files_below
from shards.errors import UserError
from shards.unpacking.parquet_columns import Columns, find_columns
from shards.unpacking.parquet_rows import MediaFolder, read_rows
from shards.unpacking.samples import ForeignSample, PackedFile
from shards.unpacking.source import UnpackedSource
from shards.unpacking.splits_in_names import split_in
from shards.unpacking.table import Fields

MOST_NAMES_SHOWN = 8


class ParquetSource(UnpackedSource):
    """All Parquet files below --root, in the order of their names."""

    @cached_property
    def _files(self) -> Sequence[PackedFile]:
        root = self.options.root
        if not root.is_dir():
            raise UserError(f"--root {root}: no such folder; give the folder that holds the Parquet files")
        paths = data_files_below(root, (".parquet",))
        if not paths:
            raise UserError(f"--root {root} has no Parquet files (*.parquet); give the folder that holds them")
        names = [path.relative_to(root).as_posix() for path in paths]
        return [
            PackedFile(str(path), name, split_in(name), path.stat().st_size)
            for path, name in zip(paths, names, strict=True)
        ]

    @cached_property
    def _columns(self) -> Columns:
        import pyarrow

        first = Path(self._files[0].name)
        try:
            return find_columns(first, self.options.columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{first} can't be read as Parquet: {error}; download it again") from error

    @override
    def files(self) -> Sequence[PackedFile]:
        """The Parquet files, sorted."""
        return self._files

    @override
    def folders(self) -> Sequence[Path]:
        """The folder of the corpus."""
        return [self.options.root]

    @override
    def fields(self) -> Fields:
        """Columns, and fields of records by dotted name."""
        return Fields(str(self.options.root), self.options.columns, finds_key=True)

    @override
    def samples(self, file: PackedFile) -> Iterator[ForeignSample]:
        """Reads the rows of a file."""
        return read_rows(file, self._columns, MediaFolder(self.options.root, self.options.follow_links))

    @override
    def plan(self) -> dict[str, Any]:
        """The columns that are read, and whether links are followed."""
        return {"columns": self._columns.read, "follow_links": self.options.follow_links}

    @override
    def prepare(self, num_workers: int) -> None:
        """Unpacks the rows, and says which columns were taken and which not."""
        super().prepare(num_workers)
        columns = self._columns
        words = f"images are those of column {columns.image!r}, sounds those of {columns.sound!r}"
        if columns.unused:
            more = len(columns.unused) - MOST_NAMES_SHOWN
            listed = ", ".join(columns.unused[:MOST_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
            words += f"; not used: {listed}"
        self._notices = (words, *self._notices)

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: the options alone."""
        return {"options": self.options, "_notices": ()}
