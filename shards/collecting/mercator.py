"""Web mercator arithmetic (EPSG:3857): metres on the ground, tiles by zoom level, and squares centred on a place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shards.errors import RejectedPair

RADIUS = 6378137.0
HALF_WORLD = math.pi * RADIUS
"""The map reaches from minus to plus this, in mercator metres, in both directions."""

MOST_LATITUDE = math.degrees(2 * math.atan(math.exp(math.pi)) - math.pi / 2)
"""85.0511°: where the square map ends."""

EQUATOR_METRES_PER_PIXEL = 2 * HALF_WORLD / 256
"""156,543.03: of a pixel of a 256-pixel tile at zoom 0."""


def metres_per_pixel(latitude: float, zoom: int, tile_size: int = 256) -> float:
    """Size on the ground of a pixel of a tile: 156,543.03 · cos(latitude) / 2^zoom for tiles of 256 pixels."""
    return EQUATOR_METRES_PER_PIXEL * 256 / tile_size * math.cos(math.radians(latitude)) / 2**zoom


def finest_needed_zoom(latitude: float, wanted: float, tile_size: int = 256) -> int:
    """The coarsest zoom level whose pixels are not larger than wanted, by more than 2 %.

    Args:
        latitude: in degrees.
        wanted: metres on the ground per pixel.
        tile_size: width of a tile in pixels.
    """
    ratio = metres_per_pixel(latitude, 0, tile_size) / (1.02 * wanted)
    return max(0, math.ceil(math.log2(ratio)))


@dataclass(frozen=True)
class Square:
    """A square on the map, north up, centred on a place.

    Attributes:
        longitude, latitude: of its centre, in degrees.
        metres_per_pixel: size of its pixels on the ground, at the centre.
        side: its width and height in pixels.
    """

    longitude: float
    latitude: float
    metres_per_pixel: float
    side: int

    @property
    def centre(self) -> tuple[float, float]:
        """x and y of the centre in mercator metres."""
        x = math.radians(self.longitude) * RADIUS
        return x, RADIUS * math.asinh(math.tan(math.radians(self.latitude)))

    @property
    def pixel(self) -> float:
        """Width of a pixel in mercator metres, which are larger than those on the ground by 1 / cos(latitude)."""
        return self.metres_per_pixel / math.cos(math.radians(self.latitude))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in mercator metres; west and east may lie beyond the antimeridian."""
        (x, y), half = self.centre, self.side * self.pixel / 2
        return x - half, y - half, x + half, y + half

    @property
    def crosses_antimeridian(self) -> bool:
        """Whether a part of it lies beyond 180°."""
        west, _, east, _ = self.bounds
        return west < -HALF_WORLD or east > HALF_WORLD

    def check(self) -> None:
        """Checks that the map reaches so far.

        Raises:
            RejectedPair: a part of it lies beyond 85.05° north or south.
        """
        if abs(self.latitude) < MOST_LATITUDE:
            _, south, _, north = self.bounds
            if max(-south, north) <= HALF_WORLD:
                return
        raise RejectedPair("beyond the map", f"latitude {self.latitude:g}: web maps end at {MOST_LATITUDE:.2f}°")


@dataclass(frozen=True)
class TileRange:
    """The tiles of a zoom level that cover a square.

    Attributes:
        zoom: the level.
        first_column, first_row: of the tile in the north-west, counted from the map's; a column may be negative.
        columns, rows: how many.
    """

    zoom: int
    first_column: int
    first_row: int
    columns: int
    rows: int

    @property
    def origin(self) -> tuple[float, float]:
        """x of the western and y of the northern edge, in mercator metres."""
        width = 2 * HALF_WORLD / 2**self.zoom
        return self.first_column * width - HALF_WORLD, HALF_WORLD - self.first_row * width

    def tiles(self) -> list[tuple[int, int, int, int]]:
        """(row, column) within the range, then x and y of each tile; x wraps at the edge of the map."""
        world = 2**self.zoom
        return [
            (row, column, (self.first_column + column) % world, self.first_row + row)
            for row in range(self.rows)
            for column in range(self.columns)
        ]


def tiles_covering(square: Square, zoom: int) -> TileRange:
    """The tiles of a zoom level that cover a square and the reach of a cubic kernel, as far as the map goes."""
    west, south, east, north = square.bounds
    width = 2 * HALF_WORLD / 2**zoom
    margin = 2 * max(square.pixel, width / 256)
    first_column = math.floor((west - margin + HALF_WORLD) / width)
    last_column = math.floor((east + margin + HALF_WORLD) / width)
    first_row = max(0, math.floor((HALF_WORLD - north - margin) / width))
    last_row = min(2**zoom - 1, math.floor((HALF_WORLD - south + margin) / width))
    return TileRange(zoom, first_column, first_row, last_column - first_column + 1, last_row - first_row + 1)


def quadkey(zoom: int, column: int, row: int) -> str:
    """The name of a tile by the digits of its quadrants, as some services count."""
    return "".join(str((column >> bit & 1) + 2 * (row >> bit & 1)) for bit in range(zoom - 1, -1, -1))
