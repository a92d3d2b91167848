"""Similarity over a part of the map, as squares: the mean over the places in each, compared with the part's places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.stats import rankdata

COLUMNS = 24
"""Squares over the width of a part."""
RAMP = ((0.0, (255, 243, 196)), (0.5, (242, 122, 52)), (1.0, (140, 12, 62)))
"""Mean similarity → red, green, blue; from pale to dark, so that it can be read in greyscale too."""


@dataclass(frozen=True)
class Part:
    """A box of the map, in units of the drawing: its upper left corner, width and height."""

    x: float
    y: float
    width: float
    height: float

    def holds(self, points: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,) whether each of the points (n, 2) lies in the box."""
        inside = (points >= [self.x, self.y]) & (points <= [self.x + self.width, self.y + self.height])
        return np.asarray(inside.all(axis=1))


def draw_part_heat(part: Part, points: NDArray[np.float32], distances: NDArray[np.float32]) -> tuple[Markup, int]:
    """Draws the squares of a part that hold places, coloured by similarity to the query.

    A place's similarity is the share of the part's places that are further from the query, so that 1 is the nearest
    and 0 the furthest; ties have their average. A square has the mean over its places.

    Args:
        part: the box.
        points: (n, 2) places in units of the drawing.
        distances: (n,) from the query to their embeddings.

    Returns:
        The squares as SVG, and the count of places in the part.
    """
    inside = np.flatnonzero(part.holds(points))
    if len(inside) == 0:
        return Markup(""), 0
    similarity = 1 - (rankdata(distances[inside]) - 1) / (len(inside) - 1) if len(inside) > 1 else np.ones(1)
    side = part.width / COLUMNS
    columns, rows = np.floor((points[inside] - [part.x, part.y]) / side).astype(np.int64).T
    cells, which, counts = np.unique(
        np.stack([np.minimum(columns, COLUMNS - 1), rows], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    means = np.bincount(which.ravel(), similarity, minlength=len(cells)) / counts
    square = Markup(
        '<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill="{}"><title>{} place{}, similarity {:.2f}'
        "</title></rect>"
    )
    squares = [
        square.format(
            *(part.x + column * side, part.y + row * side, side, side, _colour(mean)),
            *(f"{count:,}", "s" if count > 1 else "", mean),
        )
        for (column, row), mean, count in zip(cells.tolist(), means.tolist(), counts.tolist(), strict=True)
    ]
    return Markup('<g class="part-heat">{}</g>').format(Markup("").join(squares)), len(inside)


def _colour(share: float) -> str:
    stops, colours = [stop for stop, _ in RAMP], [colour for _, colour in RAMP]
    return "#" + "".join(f"{round(float(np.interp(share, stops, c))):02x}" for c in zip(*colours, strict=True))


LEGEND = Markup("").join(
    Markup('<i style="background:{}"></i>').format(_colour(share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)
)
"""Squares of the colours, from the least to the most similar."""
