"""Training patches of land-cover tiles: numbered without reading a tile, dealt in a seed's order as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from downstream.landcover.benchmark import Tile
from downstream.landcover.decoded_tiles import DecodedTiles
from downstream.landcover.tiles import UNKNOWN, ForeignColour, SurveyedTile, TileImage
from downstream.running.shuffled_batches import ShuffledBatches
from pretrain.data.batches import BatchLayout, Part
from shards.errors import RejectedPair


def patch_starts(length: int, size: int, stride: int) -> range:
    """Where patches begin along a side of a tile: whole ones only, as in the authors' code, but at least one.

    2448 pixels in patches of 512 with stride 347 give 6, which leave the last 201 pixels out.
    """
    return range(0, max(length - size, 0) + 1, stride)


class PatchIndex:
    """The patches of tiles, by number.

    Args:
        tiles: with their sizes.
        size: side of a patch in pixels.
        stride: pixels from one patch to the next.
    """

    def __init__(self, tiles: Sequence[SurveyedTile], size: int, stride: int) -> None:
        self.tiles = [surveyed.tile for surveyed in tiles]
        self.size = size
        self._rows = [patch_starts(surveyed.height, size, stride) for surveyed in tiles]
        self._columns = [patch_starts(surveyed.width, size, stride) for surveyed in tiles]
        self._ends = np.cumsum([len(rows) * len(columns) for rows, columns in self._grids()])

    def _grids(self) -> Iterator[tuple[range, range]]:
        return zip(self._rows, self._columns, strict=True)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def place(self, number: int) -> tuple[Tile, int, int]:
        """The tile of a patch, and the row and the column of the tile where it begins."""
        which = int(np.searchsorted(self._ends, number, side="right"))
        within = number - (int(self._ends[which - 1]) if which else 0)
        rows, columns = self._rows[which], self._columns[which]
        return self.tiles[which], rows[within // len(columns)], columns[within % len(columns)]


def cut_patch(image: TileImage, top: int, left: int, size: int) -> TileImage:
    """A square of a tile; beyond a tile that is smaller, its image is mirrored and its labels are unknown."""
    rgb = image.rgb[top : top + size, left : left + size]
    labels = image.labels[top : top + size, left : left + size]
    below, right = size - rgb.shape[0], size - rgb.shape[1]
    if below or right:
        rgb = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REFLECT_101).astype(np.uint8)
        labels = np.pad(labels, ((0, below), (0, right)), constant_values=UNKNOWN)
    return TileImage(rgb, labels)


class PatchBatches(ShuffledBatches):
    """The training batches of a land-cover benchmark.

    No tile stays in memory: a patch is cut from its tile on the disk.

    Args:
        index: the patches.
        tiles: reads the tiles.
        layout, seed, part: see `ShuffledBatches`.
    """

    def __init__(
        self,
        index: PatchIndex,
        tiles: DecodedTiles,
        layout: BatchLayout,
        *,
        seed: int,
        **part: Unpack[Part],
    ) -> None:
        super().__init__(len(index), layout, seed=seed, **part)
        self.index = index
        self.tiles = tiles

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        """A batch: "keys", "image" (n, 3, size, size) uint8, "labels" (n, size, size) uint8; or "error", a sentence."""
        size = self.index.size
        places = [self.index.place(int(item)) for item in order[positions]]
        images = torch.empty((len(places), 3, size, size), dtype=torch.uint8)
        labels = torch.empty((len(places), size, size), dtype=torch.uint8)
        # Patches of one tile side by side, so that it is opened once for all of them.
        tile, image = None, None
        for i in sorted(range(len(places)), key=lambda i: places[i][0].key):
            if tile != places[i][0]:
                tile = places[i][0]
                try:
                    image = self.tiles.read(tile)
                except (RejectedPair, ForeignColour) as error:
                    return {"error": f"tile {tile.key}: {error}; it could be read when the run began"}
            assert image is not None
            patch = cut_patch(image, *places[i][1:], size)
            images[i] = torch.from_numpy(np.array(patch.rgb.transpose(2, 0, 1)))
            labels[i] = torch.from_numpy(np.array(patch.labels))
        keys = [f"{tile.key} at row {top}, column {left}" for tile, top, left in places]
        return {"keys": keys, "image": images, "labels": labels}
