"""Mercator arithmetic against slow literal references."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.collecting.mercator import (
    EQUATOR_METRES_PER_PIXEL,
    HALF_WORLD,
    MOST_LATITUDE,
    Square,
    finest_needed_zoom,
    metres_per_pixel,
    quadkey,
    tiles_covering,
)
from shards.errors import RejectedPair

LATITUDES = st.floats(-84, 84)
LONGITUDES = st.floats(-180, 180)


def literal_tile(longitude: float, latitude: float, zoom: int) -> tuple[float, float]:
    """Column and row with fractions, as the OpenStreetMap wiki's formula gives them."""
    radians = math.radians(latitude)
    row = (1 - math.log(math.tan(radians) + 1 / math.cos(radians)) / math.pi) / 2 * 2**zoom
    return (longitude + 180) / 360 * 2**zoom, row


def test_known_figures() -> None:
    assert pytest.approx(156_543.03, abs=0.01) == EQUATOR_METRES_PER_PIXEL
    assert metres_per_pixel(48.0, 19) == pytest.approx(0.2, abs=0.001)
    assert pytest.approx(85.0511, abs=1e-4) == MOST_LATITUDE
    assert finest_needed_zoom(48.0, 0.2) == 19
    assert finest_needed_zoom(0.0, 0.2) == 20
    assert finest_needed_zoom(48.0, 0.2, tile_size=512) == 18
    assert quadkey(3, 3, 5) == "213"  # the example of Microsoft's documentation of the system


@given(LONGITUDES, LATITUDES, st.integers(0, 20))
def test_the_centre_lies_in_the_tile_of_the_formula(longitude: float, latitude: float, zoom: int) -> None:
    x, y = Square(longitude, latitude, 0.2, 1024).centre
    column, row = literal_tile(longitude, latitude, zoom)
    width = 2 * HALF_WORLD / 2**zoom
    assert (x + HALF_WORLD) / width == pytest.approx(column, abs=1e-6 * 2**zoom)
    assert (HALF_WORLD - y) / width == pytest.approx(row, abs=1e-6 * 2**zoom)


@given(LONGITUDES, LATITUDES, st.floats(0.05, 50), st.integers(0, 20))
def test_the_tiles_cover_the_square(longitude: float, latitude: float, metres: float, zoom: int) -> None:
    square = Square(longitude, latitude, metres, 256)
    tiles = tiles_covering(square, zoom)
    west, north = tiles.origin
    width = 2 * HALF_WORLD / 2**zoom
    bounds = square.bounds
    assert west <= bounds[0]
    assert bounds[2] <= west + tiles.columns * width
    assert max(-HALF_WORLD, bounds[1]) >= north - tiles.rows * width - 1e-6
    assert min(HALF_WORLD, bounds[3]) <= north + 1e-6
    # Without a tile to spare, but for the reach of the kernel.
    reach = 2 * max(square.pixel, width / 256)
    assert bounds[0] - west <= width + reach


@given(LATITUDES, st.floats(0.05, 100))
def test_the_wanted_zoom_is_the_coarsest_that_is_fine_enough(latitude: float, metres: float) -> None:
    zoom = finest_needed_zoom(latitude, metres)
    assert metres_per_pixel(latitude, zoom) <= 1.02 * metres * (1 + 1e-9)
    assert zoom == 0 or metres_per_pixel(latitude, zoom - 1) > 1.02 * metres * (1 - 1e-9)


@pytest.mark.parametrize("latitude", [85.06, -85.06, 90.0, 85.0511])
def test_places_beyond_the_map_are_rejected(latitude: float) -> None:
    with pytest.raises(RejectedPair, match="beyond the map"):
        Square(0.0, latitude, 10.0, 1024).check()
    Square(0.0, 84.9, 0.2, 1024).check()


def test_a_square_at_the_antimeridian_goes_on_at_the_other_side() -> None:
    square = Square(180.0, 10.0, 1.0, 512)
    assert square.crosses_antimeridian
    columns = {x for _, _, x, _ in tiles_covering(square, 17).tiles()}
    assert {0, 2**17 - 1} <= columns
    assert not Square(179.0, 10.0, 1.0, 512).crosses_antimeridian
