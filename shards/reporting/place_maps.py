"""Maps of a set's places as inline SVG: how many pairs lie where, and a small map for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from shards.geography.map_view import WIDTH, View, choose_view, dot_radius, draw_ground

CELL = 7.0
"""Side of the cells whose pairs are drawn as one dot, in units of a drawing 1,000 wide: at most 12,000 dots."""

SMALL_CELL = 12.0
SMALL_RADIUS = 6.5
"""Of the small maps, which are shown at a third of the width."""

PLACES_AT_ONCE = 1_000_000
"""Places that are projected at once, which bounds the memory."""

STEPS = 5
"""Colours of the map of all pairs."""


@dataclass(frozen=True)
class Step:
    """A colour of the map.

    Attributes:
        name: the counts of pairs that it stands for.
        dots: how many dots have it.
    """

    name: str
    dots: int


@dataclass(frozen=True)
class DensityMap:
    """A map of all pairs.

    Attributes:
        svg: the drawing; dots have the CSS classes step-0 (fewest pairs) to step-4.
        legend: the colours, from few to many pairs.
        num_dots: dots drawn.
    """

    svg: Markup
    legend: tuple[Step, ...]
    num_dots: int


@dataclass(frozen=True)
class ClassMap:
    """A small map of one class: its name, the count of its pairs with coordinates, and the drawing."""

    name: str
    num_pairs: int
    svg: Markup


def density_map(places: NDArray[np.float64], description: str) -> DensityMap:
    """Draws the places as dots, those that lie close together as one, in a colour for their count.

    Args:
        places: (n, 2) longitude and latitude in degrees, n > 0.
        description: text alternative for screen readers.
    """
    view = choose_view(places[:, 0], places[:, 1])
    points, counts = _gathered(view, places, CELL)
    edges = count_steps(int(counts.max()))
    steps = np.searchsorted(edges, counts, side="right") - 1
    radius = max(2.8, min(dot_radius(len(points)), CELL / 2))
    order = np.argsort(counts, kind="stable")  # the fullest lie on top
    dots = Markup("").join(
        Markup('<circle class="step-{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(steps[dot], *points[dot], radius)
        for dot in order
    )
    legend = tuple(
        Step(_range_name(edges, number, int(counts.max())), int((steps == number).sum()))
        for number in range(len(edges))
    )
    drawing = Markup(
        '<svg class="map" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}<g class="dots">{}</g></svg>'
    ).format(WIDTH, view.height, description, draw_ground(view), dots)
    return DensityMap(drawing, legend, len(points))


def class_maps(
    all_places: NDArray[np.float64], places: Sequence[tuple[str, NDArray[np.float64]]]
) -> tuple[Markup, list[ClassMap]]:
    """A small map for each class, because no dozen colours can be told apart in print or by everybody.

    Args:
        all_places: (n, 2) places of the whole set, which choose the view that all maps share; n > 0.
        places: (name, (m, 2) places) of each class.

    Returns:
        The ground, hidden, which the maps show by reference and so must stand once on their page; and the maps.
    """
    view = choose_view(all_places[:, 0], all_places[:, 1])
    ground = Markup(
        '<svg class="hidden" aria-hidden="true"><symbol id="ground" viewBox="0 0 {0} {1:.0f}">{2}</symbol></svg>'
    ).format(WIDTH, view.height, draw_ground(view))
    return ground, [_class_map(view, name, part) for name, part in places]


def _class_map(view: View, name: str, places: NDArray[np.float64]) -> ClassMap:
    points, _ = _gathered(view, places, SMALL_CELL)
    dots = Markup("").join(
        Markup('<circle cx="{:.0f}" cy="{:.0f}" r="{:g}"/>').format(*point, SMALL_RADIUS) for point in points
    )
    label = f"Map of the {len(places)} pairs of class {name}"
    drawing = Markup(
        '<svg class="map small" viewBox="0 0 {0} {1:.0f}" role="img" aria-label="{2}">'
        '<use href="#ground" width="{0}" height="{1:.0f}"/><g class="dots">{3}</g></svg>'
    ).format(WIDTH, view.height, label, dots)
    return ClassMap(name, len(places), drawing)


def count_steps(largest: int) -> list[int]:
    """The lowest count of each colour: one pair, then up to four steps whose ratio is about the same."""
    ratio = max(2.0, largest ** (1 / STEPS))
    edges = [1]
    while len(edges) < STEPS and edges[-1] < largest:
        edges.append(max(edges[-1] + 1, _rounded(ratio ** len(edges))))
    return [edge for edge in edges if edge <= largest]


def _rounded(value: float) -> int:
    """A count with one digit that is not zero, at most 10 exact."""
    size = 10 ** max(0, len(str(int(value))) - 1)
    return round(value / size) * size


def _range_name(edges: list[int], number: int, largest: int) -> str:
    low = edges[number]
    high = edges[number + 1] - 1 if number + 1 < len(edges) else largest
    return f"{low:,}" if high <= low else f"{low:,} to {high:,}"


def _gathered(view: View, places: NDArray[np.float64], cell: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Places of one cell of the drawing as one: (m, 2) x and y of their mean, and (m,) how many there are."""
    columns, rows = int(np.ceil(WIDTH / cell)) + 1, int(np.ceil(view.height / cell)) + 1
    counts = np.zeros(columns * rows, np.int64)
    sums = np.zeros((2, columns * rows))
    for start in range(0, len(places), PLACES_AT_ONCE):
        part = places[start : start + PLACES_AT_ONCE]
        points = view.project(part[:, 0], part[:, 1])
        cells = (points[:, 1] // cell).astype(np.int64) * columns + (points[:, 0] // cell).astype(np.int64)
        counts += np.bincount(cells, minlength=len(counts))
        for axis in (0, 1):
            sums[axis] += np.bincount(cells, weights=points[:, axis], minlength=len(counts))
    full = np.flatnonzero(counts)
    return (sums[:, full] / counts[full]).T, counts[full]
