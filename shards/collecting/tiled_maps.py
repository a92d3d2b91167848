"""Imagery from tiles in web mercator: the best zoom level that has data, and an image cut from its tiles."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import numpy as np
import numpy.typing as npt

from shards.collecting.imagery import (
    Access,
    ImagerySource,
    NoImagery,
    Picture,
    filled,
    is_colourless,
    is_plain,
)
from shards.collecting.mercator import (
    HALF_WORLD,
    Square,
    TileRange,
    finest_needed_zoom,
    metres_per_pixel,
    quadkey,
    tiles_covering,
)
from shards.collecting.options import check_address
from shards.collecting.pictures import decode_picture, resampled
from shards.collecting.tile_cache import CachedTile
from shards.collecting.web import Answer, Refused
from shards.errors import UserError

MOST_TILE_BYTES = 8 << 20
_MISSING = (204, 404, 410)


class TiledSource(ImagerySource):
    """A map of tiles; subclasses say where a tile is."""

    @abstractmethod
    def address(self, zoom: int, column: int, row: int) -> str:
        """The address of a tile, with the key."""

    @property
    @abstractmethod
    def template(self) -> str:
        """What all addresses have in common, without the key."""

    @property
    def provider(self) -> str:
        """The template up to its query, which may hold what is nobody's business."""
        return self.template.partition("?")[0]

    @property
    def max_zoom(self) -> int:
        """The finest level that the service has."""
        return self.access.options.max_zoom

    def num_requests(self, square: Square) -> int:
        """The tiles of the wanted level."""
        tiles = tiles_covering(square, self._wanted_zoom(square))
        return tiles.rows * tiles.columns

    def picture(self, square: Square) -> Picture:
        """Steps from the wanted level to coarser ones until all tiles are there."""
        square.check()
        wanted = self._wanted_zoom(square)
        reasons = []
        for zoom in range(wanted, max(-1, wanted - self.access.options.coarser - 1), -1):
            try:
                return self._picture_of_level(square, zoom)
            except NoImagery as error:
                reasons.append(f"zoom {zoom}: {error}")
        raise NoImagery("; ".join(reasons))

    def shows_placeholder(self, pictures: Sequence[str]) -> bool:
        """As the cache knows it."""
        return any(self.access.cache.is_placeholder(self._source, sha256) for sha256 in pictures)

    def _wanted_zoom(self, square: Square) -> int:
        tile_size = self.access.options.tile_size
        return min(self.max_zoom, finest_needed_zoom(square.latitude, square.metres_per_pixel, tile_size))

    def _picture_of_level(self, square: Square, zoom: int) -> Picture:
        tiles = tiles_covering(square, zoom)
        mosaic, hashes = self._mosaic(tiles)
        size = self.access.options.tile_size
        x, y = square.centre
        west, north = tiles.origin
        pixel = 2 * HALF_WORLD / 2**zoom / size
        pixels = resampled(mosaic, (west - x, north - y), pixel, square.pixel, square.side)
        if is_plain(pixels):
            raise NoImagery("one colour")
        native = metres_per_pixel(square.latitude, zoom, size)
        return Picture(pixels, native, zoom, "", hashes)

    def _mosaic(self, tiles: TileRange) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        size = self.access.options.tile_size
        mosaic = np.zeros((tiles.rows * size, tiles.columns * size, 3), np.uint8)
        hashes = set()
        for row, column, x, y in tiles.tiles():
            tile = self._tile(tiles.zoom, x, y)
            if not tile.sha256:
                raise NoImagery("no tile")
            if self.access.cache.is_placeholder(self._source, tile.sha256):
                raise NoImagery("placeholder")
            pixels = decode_picture(tile.body, size, size)
            if pixels is None:
                raise NoImagery("transparent tile")
            if tile.is_plain and is_colourless(pixels):
                raise NoImagery("blank tile")
            mosaic[row * size : (row + 1) * size, column * size : (column + 1) * size] = pixels
            hashes.add(tile.sha256)
        return mosaic, tuple(sorted(hashes))

    @property
    def _source(self) -> str:
        """The name of the source in the cache."""
        return hashlib.sha256(f"{self.template} {self.access.options.tile_size}".encode()).hexdigest()[:16]

    def _tile(self, zoom: int, column: int, row: int) -> CachedTile:
        cache, name = self.access.cache, f"{zoom}/{column}/{row}"
        known = cache.get(self._source, name)
        if known is not None:
            return known
        try:
            answer = self.access.web.read(self.address(zoom, column, row), MOST_TILE_BYTES, lambda answer: answer)
        except Refused as error:
            if error.status not in _MISSING:
                raise
            return cache.put(self._source, name, b"")
        return self._kept(name, answer)

    def _kept(self, name: str, answer: Answer) -> CachedTile:
        size = self.access.options.tile_size
        if not answer.body:
            return self.access.cache.put(self._source, name, b"")
        pixels = decode_picture(answer.body, size, size)
        plain = pixels is not None and is_plain(pixels)
        return self.access.cache.put(self._source, name, answer.body, is_plain=plain)


class XyzSource(TiledSource):
    """Tiles at addresses of a template (`--xyz`)."""

    _NAMES = ("z", "x", "y", "-y", "q", "key")

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._template = str(access.options.xyz)
        check_address("xyz", self._template)
        names = re.findall(r"\{([^{}]*)\}", self._template)
        unknown = [name for name in names if name not in self._NAMES]
        if unknown:
            raise UserError(
                f"--xyz has {{{unknown[0]}}}; known are {{z}}, {{x}}, {{y}}, {{-y}}, {{q}} and {{key}}; for {{s}} "
                "write one of the service's names"
            )
        if "q" not in names and not ({"z", "x"} <= set(names) and {"y", "-y"} & set(names)):
            raise UserError(
                f"--xyz {urlsplit(self._template).hostname}… needs {{z}}, {{x}} and {{y}} (or {{-y}}), or {{q}}"
            )
        if "key" in names and not access.key:
            raise UserError("--xyz has {key}; give it with --key or EARSHOT_IMAGERY_KEY")

    @property
    def template(self) -> str:
        """As it was given."""
        return self._template

    def address(self, zoom: int, column: int, row: int) -> str:
        """The template filled in."""
        values = {
            **{"z": str(zoom), "x": str(column), "y": str(row), "-y": str(2**zoom - 1 - row)},
            **{"q": quadkey(zoom, column, row), "key": quote(self.access.key, safe="")},
        }
        return filled(self._template, values)
