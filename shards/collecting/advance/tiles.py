"""The tile of a place, and the four around it: cut from a larger image, or taken from files of neighbouring tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shards.collecting.advance.rules import DIRECTIONS
from shards.errors import RejectedPair

if TYPE_CHECKING:
    from shards.sources.named_files import NamedFiles

Image = NDArray[np.uint8]
"""(height, width, 3) RGB, north up."""

STEPS = {"north": (-1, 0), "east": (0, 1), "south": (1, 0), "west": (0, -1)}
"""Rows and columns by which a direction moves, in units of the shift."""

NO_ROOM = "no room for a shifted tile"


class TileCutter:
    """Cuts the tiles of a corpus.

    Args:
        neighbours: the images of the corpus, among which those of neighbouring tiles are looked for: the name of the
            image with _north, _east, _south or _west.
        tile_pixels: side of a tile.
        shift_share: how far a shifted tile lies from the place, as a share of its side.
    """

    def __init__(self, neighbours: NamedFiles, tile_pixels: int, shift_share: float) -> None:
        self._neighbours = neighbours
        self.tile_pixels = tile_pixels
        self.shift_pixels = round(shift_share * tile_pixels)

    def tile(self, image: Image) -> Image:
        """The central square of an image: of the tile's side, or of a smaller image all."""
        side = min(self.tile_pixels, *image.shape[:2])
        return _square(image, side, (0, 0))

    def shifted(self, path: Path, image: Image, direction: str) -> Image:
        """The tile next to a place.

        Args:
            path: the file of the place's image.
            image: its content.
            direction: one of `DIRECTIONS`.

        Raises:
            RejectedPair: there is no file of that neighbour, and the image is too small to cut it; or the file of the
                neighbour can't be used.
        """
        assert direction in DIRECTIONS
        stem = f"{path.stem}_{direction}"
        if self._neighbours.has_key(stem):
            return self.tile(read_image(self._neighbours.of_key(stem)))
        down, right = (self.shift_pixels * step for step in STEPS[direction])
        height, width = image.shape[:2]
        needed = self.tile_pixels + 2 * abs(down), self.tile_pixels + 2 * abs(right)
        if height < needed[0] or width < needed[1]:
            raise RejectedPair(
                NO_ROOM,
                f"{path.name} has {width} × {height} pixels, and the tile {self.shift_pixels} pixels "
                f"to the {direction} needs {needed[1]} × {needed[0]}; there is no {stem}.* either",
            )
        return _square(image, self.tile_pixels, (down, right))


def read_image(path: Path) -> Image:
    """An image of any format; rasters of more than 8 bits are scaled by their own percentiles.

    Raises:
        RejectedPair: it can't be used.
    """
    from shards.decoding.imagery import load_image

    return load_image(path).rgb


def _square(image: Image, side: int, offset: tuple[int, int]) -> Image:
    height, width = image.shape[:2]
    top, left = (height - side) // 2 + offset[0], (width - side) // 2 + offset[1]
    return np.ascontiguousarray(image[top : top + side, left : left + side])
