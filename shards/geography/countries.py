"""Which country a place lies in, by a file of boundaries: inside one, else within a few kilometres of its shore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.geography.geojson import read_features
from shards.geography.shapes import METRES_PER_DEGREE, Shape, inside
from shards.untrusted_text import without_controls, without_surrogates

NAME_PROPERTIES = ("admin", "name_en", "name", "country", "name_long", "sovereignt")
"""Properties that may name a country, in lower case, in this order: Natural Earth's first."""

SHORE_KM = 10.0
"""Boundaries are simplified, most at the coast, and recordings are made on beaches, piers and boats."""

SHORE_STEP_KM = 2.0
"""Distance of the points by which the distance to a shore is measured; its error is below 0.05 km at `SHORE_KM`."""

NOWHERE = -1
MOST_NAME_LETTERS = 80
EARTH_KM_PER_DEGREE = METRES_PER_DEGREE / 1000


@dataclass(frozen=True, eq=False)
class Located:
    """Countries of places.

    Attributes:
        country: (n,) position in `Countries.names`, `NOWHERE` where there is none.
        is_near: (n,) whether the place lies outside all boundaries, and that country's is within `SHORE_KM`.
    """

    country: NDArray[np.int32]
    is_near: NDArray[np.bool_]


class Countries:
    """The countries of a file of boundaries.

    Args:
        path: a GeoJSON file in WGS84 with a polygon or multipolygon for each country, such as Natural Earth's Admin 0;
            features of one name are one country.

    Raises:
        UserError: the file can't be read, or a feature has no name.
    """

    def __init__(self, path: Path) -> None:
        rings: dict[str, list[NDArray[np.float64]]] = {}
        for number, feature in enumerate(read_features(path), start=1):
            name = _name_of(feature.properties)
            if not name:
                found = ", ".join(sorted(map(str, feature.properties))[:8]) or "none"
                raise UserError(
                    f"--countries {path}: feature {number} has no name; one of the properties "
                    f"{', '.join(NAME_PROPERTIES)} must name its country (its properties: {found})"
                )
            rings.setdefault(name, []).extend(feature.shape.rings)
        self.names = tuple(rings)
        self._shapes = tuple(Shape(tuple(parts)) for parts in rings.values())
        if not any(shape.rings for shape in self._shapes):
            raise UserError(f"--countries {path} has no polygons; give a file with the boundaries of countries")

    def locate(self, longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> Located:
        """The country of each place; of two that claim it, the one that comes first in the file.

        Args:
            longitudes, latitudes: (n,) degrees.
        """
        country = np.full(len(longitudes), NOWHERE, np.int32)
        rest = np.arange(len(longitudes))
        for number, shape in enumerate(self._shapes):
            found = inside(shape, longitudes[rest], latitudes[rest])
            country[rest[found]] = number
            rest = rest[~found]
        is_near = np.zeros(len(longitudes), bool)
        if len(rest):
            nearest, kilometres = self._nearest_shores(longitudes[rest], latitudes[rest])
            close = kilometres <= SHORE_KM
            country[rest[close]] = nearest[close]
            is_near[rest[close]] = True
        return Located(country, is_near)

    def _nearest_shores(
        self, longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The country with the nearest boundary to each place, and its distance in km."""
        from scipy.spatial import cKDTree

        points = [_along(shape) for shape in self._shapes]
        owner = np.repeat(np.arange(len(points), dtype=np.int32), [len(part) for part in points])
        chords, positions = cKDTree(_on_sphere(*np.concatenate(points).T)).query(_on_sphere(longitudes, latitudes))
        angles = 2 * np.degrees(np.arcsin(np.minimum(1.0, chords / 2)))
        return owner[positions], angles * EARTH_KM_PER_DEGREE


def _name_of(properties: dict[str, Any]) -> str:
    plain = {str(name).lower(): value for name, value in properties.items()}
    for name in NAME_PROPERTIES:
        value = plain.get(name)
        if isinstance(value, str) and value.strip():
            return " ".join(without_surrogates(without_controls(value)).split())[:MOST_NAME_LETTERS]
    return ""


def _along(shape: Shape) -> NDArray[np.float64]:
    """Points along the boundary of a country, at most `SHORE_STEP_KM` apart: (m, 2) longitude and latitude."""
    starts, ends = shape.edges
    middle = np.radians((starts[:, 1] + ends[:, 1]) / 2)
    across = (ends[:, 0] - starts[:, 0]) * np.cos(middle)
    kilometres = np.hypot(across, ends[:, 1] - starts[:, 1]) * EARTH_KM_PER_DEGREE
    pieces = np.maximum(1, np.ceil(kilometres / SHORE_STEP_KM)).astype(np.int64)
    edge = np.repeat(np.arange(len(starts)), pieces)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = (within / pieces[edge])[:, None]
    return starts[edge] + share * (ends[edge] - starts[edge])


def _on_sphere(longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) points on the unit sphere."""
    along, up = np.radians(longitudes), np.radians(latitudes)
    return np.stack([np.cos(up) * np.cos(along), np.cos(up) * np.sin(along), np.sin(up)], axis=1)
