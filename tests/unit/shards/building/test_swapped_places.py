"""Swapped coordinates are found in corpora of one region, and nothing is said of corpora of the whole world."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards.building.swapped_places import swapped_places
from shards.schema import Pair

MUNICH = [(11.5 + number / 100, 48.1 + number / 100) for number in range(30)]


def warnings_of(places: list[tuple[float, float]]) -> list[str]:
    pairs = [
        Pair(str(at), Path("a.jpg"), Path("a.wav"), longitude, latitude, {}, {}, at)
        for at, (longitude, latitude) in enumerate(places, start=2)
    ]
    return list(swapped_places(pairs, "line"))


def test_a_row_with_swapped_coordinates_is_named_with_its_distance() -> None:
    (warning,) = warnings_of([*MUNICH, (48.1, 11.6)])
    assert warning == (
        "line 32: latitude 11.6, longitude 48.1 is 5,288 km from all others; latitude and longitude swapped?"
    )
    assert len(warnings_of([(48.15, 11.55), *MUNICH, (48.1, 11.6)])) == 2


@pytest.mark.parametrize(
    "places",
    [
        [],
        MUNICH,
        # Far, but elsewhere when swapped.
        [*MUNICH, (-70.0, 40.0)],
        # The others do not lie in one box of 500 km.
        [*MUNICH, (-70.0, 40.0), (48.1, 11.6)],
        [(20.0 * at - 180, 60 - 7.0 * at) for at in range(18)],
        # Swapped is near by.
        [*((45.0 + at / 100, 44.9 - at / 100) for at in range(30)), (44.0, 46.0)],
        [(48.1, 11.6), (11.6, 48.1)],
    ],
)
def test_nothing_is_said_where_no_place_is_an_exception(places: list[tuple[float, float]]) -> None:
    assert warnings_of(places) == []
