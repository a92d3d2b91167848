"""How near test places lie to training places: exact on a sphere, also across the date line and at the poles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shards.building.describing import count_near, extent_of, nearest_distances_metres
from shards.building.splitting import EARTH_RADIUS_KM

places = st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=12)
METRES_A_DEGREE = math.radians(1) * EARTH_RADIUS_KM * 1000


def angle_between(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The angle between two places by their vectors' cross and dot products, in radians."""
    vectors = [
        (math.cos(math.radians(y)) * math.cos(math.radians(x)), math.cos(math.radians(y)) * math.sin(math.radians(x)),
         math.sin(math.radians(y)))
        for x, y in (first, second)
    ]  # fmt: skip
    return math.atan2(float(np.linalg.norm(np.cross(*vectors))), float(np.dot(*vectors)))


@settings(deadline=None)  # the first call loads scikit-learn
@example([(0.0, 0.0), (13.7, 41.3)], [(180.0, 0.0)])
@example([(13.7, 41.3)], [(-166.3, -41.3)])
@given(places, places)
def test_the_nearest_distance_is_that_of_a_plain_search(
    queries: list[tuple[float, float]], training: list[tuple[float, float]]
) -> None:
    expected = [min(angle_between(query, place) for place in training) * EARTH_RADIUS_KM * 1000 for query in queries]
    assert nearest_distances_metres(np.array(queries), np.array(training)) == pytest.approx(expected, abs=0.5)


def test_the_extent_is_that_of_all_places() -> None:
    found = extent_of(np.array([(11.5, -48.0), (7.25, 3.0), (9.0, 50.5)]))
    assert found == {"longitude": [7.25, 11.5], "latitude": [-48.0, 50.5]}
    assert extent_of(np.empty((0, 2))) == {}


def test_limits_count_what_is_within_them() -> None:
    training = [(10.0, 0.0), (180.0, 20.0), (0.0, 90.0)]
    metres_east = {metres: (10.0 + metres / METRES_A_DEGREE, 0.0) for metres in (0, 1, 99, 101, 999, 1001)}
    assert count_near(list(metres_east.values()), training) == {0: 1, 100: 3, 1000: 5}
    # One place may have two names: 180° east is 180° west, and a pole has every longitude.
    assert count_near([(-180.0, 20.0), (77.0, 90.0)], training) == {0: 2, 100: 2, 1000: 2}


def test_an_empty_split_is_near_nothing() -> None:
    assert count_near([], [(0.0, 0.0)]) == count_near([(0.0, 0.0)], []) == {0: 0, 100: 0, 1000: 0}
