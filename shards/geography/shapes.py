"""Shapes on the Earth: areas, lines and points in degrees, which places they hold, and how far away they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

METRES_PER_DEGREE = 111_194.93
"""Of latitude, on a sphere of the Earth's mean radius (6,371.009 km)."""

Line = NDArray[np.float64]
"""(n, 2) longitude and latitude of consecutive points, degrees."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Areas, lines and points that belong together.

    Attributes:
        rings: closed lines; a place is inside if it lies within an odd number of them (fill rule "evenodd"), so that
            holes are rings like any other.
        lines: open lines.
        points: (n, 2) longitude and latitude.
    """

    rings: tuple[Line, ...] = ()
    lines: tuple[Line, ...] = ()
    points: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees; of an empty shape, bounds that hold nothing."""
        parts = [*self.rings, *self.lines, self.points]
        every = np.concatenate([np.asarray(part, np.float64).reshape(-1, 2) for part in parts])
        if len(every) == 0:
            return np.inf, np.inf, -np.inf, -np.inf
        west, south = every.min(axis=0)
        east, north = every.max(axis=0)
        return float(west), float(south), float(east), float(north)

    @cached_property
    def edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Starts and ends of all edges of the rings, (m, 2) each."""
        return _edges(self.rings, closed=True)

    @cached_property
    def segments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Starts and ends of all edges of rings and lines, (m, 2) each."""
        (starts, ends), (more_starts, more_ends) = self.edges, _edges(self.lines, closed=False)
        return np.concatenate([starts, more_starts]), np.concatenate([ends, more_ends])


def inside(shape: Shape, longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which places lie within a shape's areas, by the parity of the edges that a line to the east crosses.

    Edges are straight in longitude and latitude, as maps draw them. It takes time in proportion to the edges, and to
    the places in the band of latitudes of each, so that ten million places in a detailed world take seconds.

    Args:
        shape: its rings.
        longitudes, latitudes: (n,) degrees.

    Returns:
        (n,) booleans.
    """
    west, south, east, north = shape.bounds
    near = np.flatnonzero((longitudes >= west) & (longitudes <= east) & (latitudes >= south) & (latitudes <= north))
    found = np.zeros(len(longitudes), bool)
    if len(near) == 0 or not shape.rings:
        return found
    x, y = longitudes[near], latitudes[near]
    (x1, y1), (x2, y2) = (part.T for part in shape.edges)
    is_inside = _by_place(x, y, x1, y1, x2, y2) if len(near) <= len(x1) else _by_edge(x, y, x1, y1, x2, y2)
    found[near] = is_inside
    return found


def metres_away(shape: Shape, longitude: float, latitude: float) -> float:
    """Distance from a place to the nearest part of a shape in metres; 0 inside its areas, infinite if it is empty.

    The surroundings of the place are taken as flat, which is exact to a thousandth within 20 km.
    """
    if inside(shape, np.array([longitude]), np.array([latitude]))[0]:
        return 0.0
    nearest = np.inf
    starts, ends = (_flat(part, longitude, latitude) for part in shape.segments)
    if len(starts):
        steps = ends - starts
        lengths = (steps**2).sum(axis=1)
        along = np.clip(-(starts * steps).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), 0.0, 1.0)
        nearest = float(np.hypot(*(starts + along[:, None] * steps).T).min())
    if len(shape.points):
        nearest = min(nearest, float(np.hypot(*_flat(shape.points, longitude, latitude).T).min()))
    return nearest


def _flat(points: NDArray[np.float64], longitude: float, latitude: float) -> NDArray[np.float64]:
    """Points in metres east and north of a place."""
    east = (points[:, 0] - longitude + 180.0) % 360.0 - 180.0
    return np.stack(
        [east * METRES_PER_DEGREE * np.cos(np.radians(latitude)), (points[:, 1] - latitude) * METRES_PER_DEGREE], axis=1
    )


def _edges(lines: Iterable[Line], *, closed: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    starts, ends = [np.empty((0, 2))], [np.empty((0, 2))]
    for line in lines:
        following = np.roll(line, -1, axis=0) if closed else line[1:]
        starts.append(line if closed else line[:-1])
        ends.append(following)
    return np.concatenate(starts), np.concatenate(ends)


def _by_place(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x1: NDArray[np.float64],
    y1: NDArray[np.float64],
    x2: NDArray[np.float64],
    y2: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Parity of crossings, all edges at once for each place."""
    found = np.zeros(len(x), bool)
    for place in range(len(x)):
        spans = np.flatnonzero((y1 > y[place]) != (y2 > y[place]))
        share = (y[place] - y1[spans]) / (y2[spans] - y1[spans])
        found[place] = np.count_nonzero(x[place] < x1[spans] + share * (x2[spans] - x1[spans])) % 2
    return found


def _by_edge(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x1: NDArray[np.float64],
    y1: NDArray[np.float64],
    x2: NDArray[np.float64],
    y2: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Parity of crossings, for each edge the places in its band of latitudes at once."""
    order = np.argsort(y, kind="stable")
    x, y = x[order], y[order]
    parity = np.zeros(len(x), bool)
    # An edge spans the latitudes from its lower end to just below its upper one: (y1 > y) != (y2 > y).
    first = np.searchsorted(y, np.minimum(y1, y2), side="left")
    last = np.searchsorted(y, np.maximum(y1, y2), side="left")
    for edge in np.flatnonzero(last > first):
        band = slice(first[edge], last[edge])
        share = (y[band] - y1[edge]) / (y2[edge] - y1[edge])
        parity[band] ^= x[band] < x1[edge] + share * (x2[edge] - x1[edge])
    found = np.empty(len(x), bool)
    found[order] = parity
    return found
