"""Land-cover tiles from disk: an image and the class of each of its pixels; all looked at before training begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from downstream.landcover.benchmark import Colour, Tile
from downstream.running.corrupt import refuse_corrupt
from pretrain import distributed
from shards.decoding.imagery import load_image
from shards.errors import RejectedPair, UserError
from shards.progress import ProgressLine

UNKNOWN = 255
"""Label of a pixel that counts nowhere."""
THRESHOLD = 128
"""Threshold of a mask's channels, since compression left intermediate values in some masks."""
FOREIGN = 254


class ForeignColour(Exception):
    """A mask holds a colour that is neither a class's nor unknown."""


@dataclass(frozen=True)
class TileImage:
    """A tile that was read.

    Attributes:
        rgb: (height, width, 3) uint8.
        labels: (height, width) uint8, index of the class, or `UNKNOWN`.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class SurveyedTile:
    """A tile that can be used.

    Attributes:
        tile: which.
        height, width: in pixels.
        class_pixels: pixels of each class.
    """

    tile: Tile
    height: int
    width: int
    class_pixels: tuple[int, ...]


def labels_of_mask(mask: NDArray[np.uint8], classes: Mapping[str, Colour]) -> NDArray[np.uint8]:
    """The class of each pixel of a coloured mask.

    Args:
        mask: (height, width, 3) uint8; each channel is on from `THRESHOLD`.
        classes: the colour of each class.

    Returns:
        (height, width) uint8: index of the class, `UNKNOWN` where the mask is black.

    Raises:
        ForeignColour: names the colour and how many pixels have it.
    """
    table = np.full(8, FOREIGN, dtype=np.uint8)
    table[0] = UNKNOWN
    for label, colour in enumerate(classes.values()):
        table[_code(np.array(colour))] = label
    codes = _code(mask)
    labels: NDArray[np.uint8] = table[codes]
    foreign = labels == FOREIGN
    if foreign.any():
        code = int(codes[foreign][0])
        seen = tuple(255 * (code >> bit & 1) for bit in (2, 1, 0))
        palette = ", ".join(f"{name} {value}" for name, value in classes.items())
        raise ForeignColour(
            f"{int((codes == code).sum())} pixels of the colour {seen}, which is none of: {palette}, unknown (0, 0, 0)"
        )
    return labels


def _code(colours: NDArray[np.integer]) -> NDArray[np.uint8]:
    """(…, 3) → a number of three bits, one a channel."""
    on = colours >= THRESHOLD
    return (on[..., 0] * np.uint8(4) + on[..., 1] * np.uint8(2) + on[..., 2]).astype(np.uint8)


def read_tile(tile: Tile, classes: Mapping[str, Colour]) -> TileImage:
    """Reads the image and the mask of a tile.

    Raises:
        RejectedPair: one of them can't be decoded, or they differ in size.
        ForeignColour: the mask has a colour of no class.
    """
    # Not turned north up: only one of the two may be georeferenced.
    rgb = load_image(tile.image, tile.rasters, as_stored=True).rgb
    mask = load_image(tile.mask, as_stored=True).rgb
    if rgb.shape != mask.shape:
        sizes = " and ".join(
            f"{path.name} {array.shape[1]} × {array.shape[0]}" for path, array in ((tile.image, rgb), (tile.mask, mask))
        )
        raise RejectedPair("image and mask differ in size", sizes)
    return TileImage(rgb, labels_of_mask(mask, classes))


def read_ahead(
    tiles: Sequence[Tile], classes: Mapping[str, Colour], *, threads: int
) -> Iterator[tuple[Tile, TileImage]]:
    """Tiles in order, of which up to `threads` are read ahead.

    Raises:
        UserError: a tile can't be read.
    """
    waiting: deque[tuple[Tile, Future[TileImage]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        rest = iter(tiles)
        for tile in islice(rest, threads):
            waiting.append((tile, pool.submit(read_tile, tile, classes)))
        while waiting:
            tile, future = waiting.popleft()
            try:
                image = future.result()
            except (RejectedPair, ForeignColour) as error:
                raise UserError(f"tile {tile.key}: {error}; it could be read when the run began") from error
            for following in islice(rest, 1):
                waiting.append((following, pool.submit(read_tile, following, classes)))
            yield tile, image


def survey_tiles(
    tiles: Sequence[Tile],
    classes: Mapping[str, Colour],
    *,
    max_corrupt: float,
    threads: int,
    keep: Callable[[Tile, TileImage], None] | None = None,
) -> tuple[list[SurveyedTile], list[str]]:
    """Reads every tile once, before the first training second; several processes share the work.

    Args:
        tiles: all of them.
        classes: the colour of each class.
        max_corrupt: share of the tiles that may be unreadable.
        threads: that read.
        keep: is given each tile that was read.

    Returns:
        The tiles that can be used, and a sentence for each of the others.

    Raises:
        UserError: a mask has a colour of no class, more than a share `max_corrupt` of the tiles can't be
            read, or no mask holds a known class.
    """
    own = tiles[distributed.rank() :: distributed.num_processes()]
    looked_at: list[SurveyedTile | str] = []
    refused = ""
    with (
        ThreadPoolExecutor(threads) as pool,
        ProgressLine("checking the tiles", len(own), enabled=distributed.is_first()) as progress,
    ):
        for found in pool.map(lambda tile: _survey(tile, classes, keep), own):
            if isinstance(found, ForeignColour):
                refused = refused or str(found)
            else:
                looked_at.append(found)
            progress.advance()
    refusals = [sentence for sentence in distributed.gather_objects(refused) if sentence]
    if refusals:
        raise UserError(f"{refusals[0]}; recolour that mask, or remove the tile")
    everything = [found for part in distributed.gather_objects(looked_at) for found in part]
    usable = {found.tile.key: found for found in everything if isinstance(found, SurveyedTile)}
    faults = sorted(found for found in everything if isinstance(found, str))
    refuse_corrupt(faults, len(tiles), "tiles", max_corrupt)
    if not any(sum(found.class_pixels) for found in usable.values()):
        raise UserError(
            f"none of the {len(tiles)} masks holds a pixel of a class, the first is {tiles[0].mask}; masks must be in "
            f"the colours {', '.join(f'{name} {colour}' for name, colour in classes.items())}"
        )
    return [usable[tile.key] for tile in tiles if tile.key in usable], faults


def _survey(
    tile: Tile, classes: Mapping[str, Colour], keep: Callable[[Tile, TileImage], None] | None
) -> SurveyedTile | ForeignColour | str:
    try:
        image = read_tile(tile, classes)
    except RejectedPair as error:
        return f"{tile.key}: {error}"
    except ForeignColour as error:
        return ForeignColour(f"{tile.mask} has {error}")
    if keep:
        keep(tile, image)
    counts = np.bincount(image.labels.ravel(), minlength=256)[: len(classes)]
    height, width = image.labels.shape
    return SurveyedTile(tile, height, width, tuple(int(count) for count in counts))


def class_shares(tiles: Iterable[SurveyedTile], classes: Mapping[str, Colour]) -> dict[str, float]:
    """Share of each class in the known pixels of tiles."""
    totals = np.sum([tile.class_pixels for tile in tiles], axis=0)
    return dict(zip(classes, (float(share) for share in totals / max(1, totals.sum())), strict=True))
