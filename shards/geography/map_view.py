"""The part of the world that a map shows, its projection, and the ground (land, meridians and parallels) as SVG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

WIDTH = 1000
MIN_VIEW_DEGREES = 1.0
"""Minimum width of the map, about 100 km: a single place needs a surrounding."""
COARSE_LAND_DEGREES = 25.0
"""In a narrower view, coastlines at 1:110 million are visibly off; pages then say so."""
MARGIN = 0.08
MAX_HEIGHT_TO_WIDTH = 0.62
MIN_HEIGHT_TO_WIDTH = 0.42


@dataclass(frozen=True)
class View:
    """The visible part of the world: west, east, south, north in degrees."""

    west: float
    east: float
    south: float
    north: float

    @property
    def degrees_shrink(self) -> float:
        """Length of a degree of longitude at the middle latitude, relative to a degree of latitude."""
        return _shrink((self.south + self.north) / 2)

    @property
    def has_coarse_land(self) -> bool:
        """Whether the view is so close that coastlines are only approximate."""
        return self.east - self.west < COARSE_LAND_DEGREES

    @property
    def height(self) -> float:
        """Height of the drawing, whose width is `WIDTH`."""
        return WIDTH * (self.north - self.south) / ((self.east - self.west) * self.degrees_shrink)

    def project(self, longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) x and y in the drawing, by an equirectangular projection that is true to scale at the middle."""
        x = (longitude - self.west) / (self.east - self.west) * WIDTH
        y = (self.north - latitude) / (self.north - self.south) * self.height
        return np.stack([x, y], axis=1)


def choose_view(longitudes: NDArray[np.floating], latitudes: NDArray[np.floating]) -> View:
    """The smallest suitable view of all places, with a margin, inside of the world's edges.

    Args:
        longitudes: (n,) degrees east, n > 0.
        latitudes: (n,) degrees north.
    """
    west, east = float(longitudes.min()), float(longitudes.max())
    south, north = float(latitudes.min()), float(latitudes.max())
    middle, centre = (south + north) / 2, (west + east) / 2
    height = (north - south) * (1 + 2 * MARGIN)
    width = max(MIN_VIEW_DEGREES, (east - west) * (1 + 2 * MARGIN), height / (_shrink(middle) * MAX_HEIGHT_TO_WIDTH))
    width = min(width, 360.0)
    height = min(max(height, width * _shrink(middle) * MIN_HEIGHT_TO_WIDTH), 180.0)
    west = min(max(centre - width / 2, -180.0), 180.0 - width)
    south = min(max(middle - height / 2, -90.0), 90.0 - height)
    return View(west, west + width, south, south + height)


def _shrink(latitude: float) -> float:
    # Limited, because near the poles the true factor would make the map extremely narrow.
    return float(np.cos(np.radians(np.clip(latitude, -70, 70))))


def dot_radius(num_places: int) -> float:
    """Radius of a dot in the drawing, smaller for more places."""
    return float(np.clip(60 / np.sqrt(num_places), 2.2, 6.0))


def draw_ground(view: View) -> Markup:
    """Draws meridians, parallels and land, as paths of an SVG `WIDTH` wide."""
    return Markup('<path class="graticule" d="{}"/><path class="land" fill-rule="evenodd" d="{}"/>').format(
        _graticule(view), _land(view)
    )


@cache
def land_rings() -> tuple[NDArray[np.float64], ...]:
    """Outlines of the land, each (n, 2) longitude and latitude."""
    text = resources.files("shards.geography").joinpath("land_110m.json").read_text(encoding="utf-8")
    record = json.loads(text)
    return tuple(np.cumsum(np.reshape(ring, (-1, 2)), axis=0) * record["unit_degrees"] for ring in record["rings"])


def _land(view: View) -> str:
    paths = []
    for ring in land_rings():
        (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
        if west <= view.east and east >= view.west and south <= view.north and north >= view.south:
            steps = view.project(ring[:, 0], ring[:, 1]).round(1)
            paths.append("M" + "L".join(f"{x:g},{y:g}" for x, y in steps) + "Z")
    return "".join(paths)


def _graticule(view: View) -> str:
    width = view.east - view.west
    step = next((step for step in (30, 10, 5, 2, 1, 0.5) if width / step >= 5), 0.2)
    meridians = np.arange(np.ceil(view.west / step), view.east / step + 1e-9) * step
    parallels = np.arange(np.ceil(view.south / step), view.north / step + 1e-9) * step
    x = view.project(meridians, np.full(len(meridians), view.north))[:, 0]
    y = view.project(np.full(len(parallels), view.west), parallels)[:, 1]
    return "".join(f"M{value:.1f},0V{view.height:.0f}" for value in x) + "".join(
        f"M0,{value:.1f}H{WIDTH}" for value in y
    )
