"""Features of a split in memory-mapped files, written by several processes and resumed after an interruption."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from shards.array_files import open_array
from shards.errors import UserError, disk_remedy
from shards.temporary_files import PARTIAL_SUFFIX

BLOCK = 64
"""Pairs computed and recorded as a whole."""

DIGITS = 10
"""Of a block's number in the list of complete blocks."""


class FeatureStore:
    """Arrays with a row for each pair of a split, filled block by block.

    Blocks that were written completely are listed in a file of each process, so that an interrupted pass resumes, with
    any number of processes.

    Args:
        folder: where the files are; processes on several machines must share it.
        split: the split, which begins the names of the files.
        num_pairs: number of rows.
    """

    def __init__(self, folder: Path, split: str, num_pairs: int) -> None:
        self.folder = folder
        self.split = split
        self.num_pairs = num_pairs

    @property
    def num_blocks(self) -> int:
        """Number of blocks; the last may be smaller."""
        return -(-self.num_pairs // BLOCK)

    def rows(self, block: int) -> range:
        """The pairs of a block."""
        return range(block * BLOCK, min((block + 1) * BLOCK, self.num_pairs))

    def missing(self) -> list[int]:
        """The blocks not yet written, in order."""
        done: set[int] = set()
        for record in self.folder.glob(f"{self.split}-done-*.txt"):
            # A number that a killed process left incomplete does not count.
            lines = record.read_text(encoding="ascii").split()
            done |= {int(line) for line in lines if len(line) == DIGITS}
        return [block for block in range(self.num_blocks) if block not in done]

    def create(self, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> None:
        """Creates the files that are not there yet; one process calls it.

        Args:
            shapes: shape of a row and type of each array, by name.

        Raises:
            UserError: the folder can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, (shape, kind) in shapes.items():
                path = self._path(name)
                if path.is_file():
                    continue
                partial = path.with_name(path.name + PARTIAL_SUFFIX)
                dtype = torch.empty(0, dtype=kind).numpy().dtype
                np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=(self.num_pairs, *shape))
                os.replace(partial, path)
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def write(self, block: int, arrays: Mapping[str, NDArray[Any]], process: int) -> None:
        """Writes the rows of a block and records that it is complete.

        Raises:
            UserError: the disk is full, or the folder can't be written.
        """
        try:
            for name, rows in arrays.items():
                self._write_rows(self._path(name), self.rows(block).start, rows)
            with (self.folder / f"{self.split}-done-{process}.txt").open("a", encoding="ascii") as record:
                record.write(f"\n{block:0{DIGITS}d}\n")
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def read(self, name: str) -> NDArray[Any]:
        """An array, memory-mapped: (pairs, …)."""
        return open_array(self._path(name))

    def reader(self, name: str) -> RowReader:
        """Reads single rows of an array."""
        return RowReader(self._path(name))

    def clear(self) -> None:
        """Removes the files of this split."""
        for path in self.folder.glob(f"{self.split}-*"):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.split}-{name}.npy"

    @staticmethod
    def _write_rows(path: Path, first: int, rows: NDArray[Any]) -> None:
        # Not through the memory map: a full disk would end the process there, without an error.
        with path.open("r+b") as file:
            shape, kind = _header(file)
            bytes_of_row = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
            file.seek(first * bytes_of_row, os.SEEK_CUR)
            file.write(np.ascontiguousarray(rows, dtype=kind).tobytes())
            file.flush()
            os.fsync(file.fileno())


class RowReader:
    """Rows of an array in a file, read one by one: a memory map would count as this process's memory as it is read.

    Args:
        path: the .npy file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._shape, self._type = _header(self._file)
        self._begin = self._file.tell()

    def read(self, rows: NDArray[np.int64], views: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Some rows, (n, …), or of each row one view, (n, …) from an array (pairs, views, …)."""
        if views is not None:
            rows = rows * self._shape[1] + views
        shape = self._shape[1:] if views is None else self._shape[2:]
        found = np.empty((len(rows), *shape), self._type)
        buffer, size, file = found.data.cast("B"), found[:1].nbytes, self._file.fileno()
        for place, row in enumerate(rows.tolist()):
            os.preadv(file, [buffer[place * size : (place + 1) * size]], self._begin + row * size)
        return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array in an open .npy file, which then stands at its first row."""
    np.lib.format.read_magic(file)
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    return shape, kind


def cannot_write(folder: Path, error: OSError) -> UserError:
    """The error of a folder of features that can't be written, or is on a full disk."""
    return UserError(
        f"features can't be written to {folder} ({error.strerror or error}); {disk_remedy(error)}, and resume the run, "
        "or give another folder by --data.features-dir"
    )
