"""Tiles that are decoded once a run: their pixels lie in temporary files, of which a patch reads its rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from downstream.landcover.benchmark import Colour, Tile
from downstream.landcover.tiles import TileImage, read_tile
from pretrain import distributed
from shards.array_files import open_array
from shards.temporary_files import Temporary

LEFT_FREE = 0.5
"""Of the room on the disk when the run begins; tiles beyond are decoded for every patch."""


class DecodedTiles:
    """The tiles of a run, from files of their pixels where these were kept, else from the data.

    Args:
        folder: of the files; processes that do not share it decode.
        classes: the colour of each class.
        least_free: bytes to leave free on the disk.
    """

    def __init__(self, folder: Path, classes: Mapping[str, Colour], least_free: int = 0) -> None:
        self.folder = folder
        self.classes = dict(classes)
        self.least_free = least_free

    def keep(self, tile: Tile, image: TileImage) -> None:
        """Writes the pixels of a tile: 4 bytes each, 24 MB for 2448 x 2448; does nothing on a disk without room."""
        paths = self._paths(tile)
        try:
            if shutil.disk_usage(self.folder).free - image.rgb.nbytes - image.labels.nbytes >= self.least_free:
                np.save(paths[0], image.rgb)
                np.save(paths[1], image.labels)
        except OSError:
            for path in paths:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def read(self, tile: Tile) -> TileImage:
        """The pixels of a tile, memory-mapped if they were kept.

        Raises:
            RejectedPair, ForeignColour: as `read_tile`.
        """
        rgb, labels = self._paths(tile)
        if not labels.is_file():
            return read_tile(tile, self.classes)
        return TileImage(open_array(rgb), open_array(labels))

    def num_kept(self) -> int:
        """The number of tiles that were kept."""
        return len(list(self.folder.glob("*.labels.npy")))

    def _paths(self, tile: Tile) -> tuple[Path, Path]:
        return self.folder / f"{tile.key}.rgb.npy", self.folder / f"{tile.key}.labels.npy"


@contextmanager
def decoded_tiles(out: Path, classes: Mapping[str, Colour]) -> Iterator[DecodedTiles]:
    """The tiles of a run that writes to `out`; their files are removed at its end, or by the next run after a kill."""
    temporary, least_free = None, 0
    if distributed.is_first():
        out.mkdir(parents=True, exist_ok=True)
        temporary = Temporary(out / "decoded-tiles", is_folder=True)
        least_free = int(LEFT_FREE * shutil.disk_usage(out).free)
    try:
        yield DecodedTiles(*distributed.from_first((temporary.path if temporary else out, classes, least_free)))
    finally:
        if temporary:
            temporary.discard()
            with suppress(OSError):  # of a run that was refused, nothing is left
                out.rmdir()
