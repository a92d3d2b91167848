"""Places inside shapes, and distances to them, against slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.geography.shapes import Shape, _by_edge, _by_place, inside, metres_away

SQUARE = np.array([[0.0, 0.0], [10, 0], [10, 10], [0, 10], [0, 0]])
HOLE = np.array([[4.0, 4.0], [6, 4], [6, 6], [4, 6]])


def literally_inside(rings: list[np.ndarray], x: float, y: float) -> bool:
    """Crossings of a line to the east, edge by edge."""
    crossings = 0
    for ring in rings:
        for number in range(len(ring)):
            (x1, y1), (x2, y2) = ring[number], ring[(number + 1) % len(ring)]
            if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
                crossings += 1
    return crossings % 2 == 1


def test_a_square_with_a_hole() -> None:
    shape = Shape(rings=(SQUARE, HOLE))
    x, y = np.array([1.0, 5, 9.9, 10.1, -0.1, 5, 5]), np.array([1.0, 5, 9.9, 5, 5, 3.9, 11])
    assert inside(shape, x, y).tolist() == [True, False, True, False, False, True, False]
    assert not inside(Shape(lines=(SQUARE,)), x, y).any()


corner = st.tuples(st.integers(-8, 8), st.integers(-8, 8)).map(lambda pair: (pair[0] / 2, pair[1] / 2))


@given(
    st.lists(st.lists(corner, min_size=3, max_size=7), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=1, max_size=12),
)
def test_both_ways_to_look_agree_with_the_literal_one(
    corners: list[list[tuple[float, float]]], places: list[tuple[int, int]]
) -> None:
    rings = [np.array(ring, float) for ring in corners]
    x, y = (np.array(part) / 4 for part in zip(*places, strict=True))
    expected = [literally_inside(rings, *place) for place in zip(x, y, strict=True)]
    assert inside(Shape(rings=tuple(rings)), x, y).tolist() == expected
    (x1, y1), (x2, y2) = (part.T for part in Shape(rings=tuple(rings)).edges)
    with np.errstate(divide="raise", invalid="raise"):
        assert _by_place(x, y, x1, y1, x2, y2).tolist() == expected
        assert _by_edge(x, y, x1, y1, x2, y2).tolist() == expected


def haversine(longitude: float, latitude: float, other_longitude: float, other_latitude: float) -> float:
    along, up = math.radians(other_longitude - longitude), math.radians(other_latitude - latitude)
    a = math.sin(up / 2) ** 2
    a += math.cos(math.radians(latitude)) * math.cos(math.radians(other_latitude)) * math.sin(along / 2) ** 2
    return 2 * 6_371_009 * math.asin(math.sqrt(a))


def test_distances_are_those_of_the_sphere() -> None:
    for longitude, latitude in ((7.0, 48.0), (-70.0, -33.0), (25.0, 69.0)):
        point = Shape(points=np.array([[longitude + 0.001, latitude - 0.002]]))
        expected = haversine(longitude, latitude, longitude + 0.001, latitude - 0.002)
        assert metres_away(point, longitude, latitude) == pytest.approx(expected, rel=1e-3)
    across = Shape(points=np.array([[-179.9995, 0.0]]))
    assert metres_away(across, 179.9995, 0.0) == pytest.approx(111.19, rel=1e-3)


def test_distance_to_a_line_is_that_to_its_nearest_part_and_inside_an_area_it_is_zero() -> None:
    line = Shape(lines=(np.array([[0.0, 0.001], [0.01, 0.001]]),))
    assert metres_away(line, 0.005, 0.0) == pytest.approx(111.19, rel=1e-3)
    # Beyond its end, the end is nearest.
    assert metres_away(line, 0.011, 0.001) == pytest.approx(111.19, rel=1e-3)
    area = Shape(rings=(SQUARE * 0.001,))
    assert metres_away(area, 0.005, 0.005) == 0
    assert metres_away(area, 0.011, 0.005) == pytest.approx(111.19, rel=1e-3)
    assert metres_away(Shape(), 0.0, 0.0) == math.inf
    assert metres_away(Shape(lines=(np.array([[1.0, 1.0], [1.0, 1.0]]),)), 1.0, 1.0) == 0
