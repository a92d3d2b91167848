"""Images that are decoded once: their pixels lie in temporary files, of which a view reads its rows."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards.decoding.jpeg_parts import Box

_SHAPE = struct.Struct("<II")
"""Height and width, before the pixels."""


class DecodedImages:
    """The decoded images of one shard set, a file each, shared by the processes of a machine.

    Args:
        folder: of the files, of nothing else.
        least_free: bytes to leave free on its disk; an image beyond is not kept.
    """

    def __init__(self, folder: Path, least_free: int) -> None:
        self.folder = folder
        self.least_free = least_free

    @property
    def room_bytes(self) -> int:
        """How many bytes may still be written; 0 where the folder is gone."""
        with suppress(OSError):
            return max(0, shutil.disk_usage(self.folder).free - self.least_free)
        return 0

    def part(
        self, shard: str, offset: int, choose: Callable[[int, int], Box], decode: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8] | None:
        """A part of an image, which is decoded and kept first if it was not and there is room.

        Args:
            shard: file name of its tar.
            offset: of its sample in there.
            choose: maps the height and width of the image to the part.
            decode: decodes the whole image, to (height, width, 3) uint8.

        Returns:
            (box.height, box.width, 3) uint8, or None: there is no room.
        """
        path = self.folder / shard / str(offset)
        with suppress(OSError):
            return _read(path, choose)
        if not self.room_bytes:
            return None
        pixels = decode()
        _write(path, pixels)
        top, left, height, width = choose(*pixels.shape[:2])
        return pixels[top : top + height, left : left + width]


def _read(path: Path, choose: Callable[[int, int], Box]) -> NDArray[np.uint8]:
    file = os.open(path, os.O_RDONLY)
    try:
        header = os.pread(file, _SHAPE.size, 0)
        if len(header) < _SHAPE.size:
            raise OSError(f"{path} is incomplete")
        height, width = _SHAPE.unpack(header)
        box = choose(height, width)
        rows = np.empty((box.height, width, 3), np.uint8)
        if os.preadv(file, [rows.data], _SHAPE.size + rows[0].nbytes * box.top) < rows.nbytes:
            raise OSError(f"{path} is incomplete")
    finally:
        os.close(file)
    return rows[:, box.left : box.left + box.width]


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes a file at once and whole, or none on a disk that takes no more."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            file.write(_SHAPE.pack(*pixels.shape[:2]))
            file.write(np.ascontiguousarray(pixels).data)
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
