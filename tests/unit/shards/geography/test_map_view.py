"""The view of a map, and the land that it shows."""

from __future__ import annotations

import numpy as np
import pytest

from shards.geography.map_view import WIDTH, choose_view, land_rings


def test_view_holds_all_places_and_comes_close_where_they_are_few() -> None:
    def view(*places: tuple[float, float]) -> tuple[float, float, float, float]:
        found = choose_view(*np.array(places, dtype=float).T)
        assert 0.3 < found.height / WIDTH < 1.1
        for longitude, latitude in places:
            assert found.west <= longitude <= found.east
            assert found.south <= latitude <= found.north
        return found.west, found.east, found.south, found.north

    west, east, south, north = view((-170, -50), (170, 70))
    assert (west, east) == (-180, 180)
    assert -66 < south < -50
    assert 70 < north < 86
    assert view((0, -80), (170, 70))[2] < -80
    # A city fills the map, and one place has a hundred kilometres around it.
    west, east, south, north = view((11.4, 48.05), (11.7, 48.2), (13.0, 47.9))
    assert 1.6 < east - west < 2.2
    west, east, south, north = view((10, 50))
    assert east - west == pytest.approx(1)
    assert (west + east, south + north) == pytest.approx((20, 100))
    # Near the date line the view ends at the edge of the world, and its places stay inside.
    assert view((179.9, 0), (178, 1))[1] == 180
    view((8, 48), (12, 54), (9, 50))
    view((0, 89.9), (1, 89.5))
    view((-3, -89), (5, -70))


def test_land_is_on_the_earth_and_where_it_should_be() -> None:
    rings = land_rings()
    assert len(rings) > 100
    assert all(len(ring) >= 3 and np.abs(ring).max(axis=0).tolist() <= [180.0, 90.0] for ring in rings)

    def on_land(longitude: float, latitude: float) -> bool:
        crossings = 0
        for ring in rings:
            (x1, y1), (x2, y2) = ring.T, np.roll(ring, -1, axis=0).T
            spans = (y1 > latitude) != (y2 > latitude)
            with np.errstate(divide="ignore", invalid="ignore"):
                crossings += int(np.sum(spans & (longitude < x1 + (latitude - y1) / (y2 - y1) * (x2 - x1))))
        return crossings % 2 == 1

    assert all(
        on_land(*place) for place in [(10, 50), (-100, 40), (134, -25), (25, -29), (100, 60), (0, -80), (178, 67)]
    )
    assert not any(on_land(*place) for place in [(-30, 30), (-150, 0), (80, -30), (-175, 50), (175, 30), (0, 85)])
