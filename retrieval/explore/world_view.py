"""A map of the set's places, with similarity to the query as heat and the results as numbered marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.stats import rankdata

from retrieval.exhibits import data_uri
from retrieval.explore.part_heat import LEGEND, Part, draw_part_heat
from retrieval.map_zoom import zoomable
from shards.geography.map_view import WIDTH, choose_view, dot_radius, draw_ground

SCALE = 2
"""Raster pixels per unit of the drawing, so that dots are sharp on high-resolution screens."""

HEAT_STOPS = ((0.0, (255, 214, 92)), (0.5, (242, 107, 49)), (1.0, (176, 22, 64)))
"""Share of the strongest heat → red, green, blue."""

FIELD_STEP = 4
FAINTEST_PEAK = 0.55
"""If the highest mean rank is below this, the map shows little heat; random places have 0.5."""

STRONGEST_HEAT = 0.85
"""Opacity at the hottest point."""

PLACE_COLOUR = (96, 124, 138)
MOST_CIRCLES = 3000
"""Places that are drawn as circles, which stay sharp in any zoom; more are drawn as a picture."""
WIDEST_SMOOTHING, NARROWEST_SMOOTHING = 34.0, 7.0
"""Range of the kernel's standard deviation in units of the drawing; wide for few places."""


def located_places(places: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of the pairs with coordinates, given longitudes and latitudes (n, 2)."""
    return np.flatnonzero(np.isfinite(places).all(axis=1))


PART_BUTTONS = Markup(
    '<button type="button" data-part="here">heat of this part</button>'
    '<button type="button" data-part="all">heat of all</button>'
)
"""Shown once there is a query."""


@dataclass(frozen=True)
class _Ground:
    """Chosen places as they are drawn: their positions in `located`, counts per raster pixel, smoothing and layer."""

    chosen: NDArray[np.int64]
    cells: NDArray[np.int64]
    counts: NDArray[np.float32]
    smoothing: float
    nearness: NDArray[np.float32]
    dots: Markup


class WorldView:
    """A map of the places of a set; those without coordinates are not drawn.

    Args:
        places: (n, 2) longitude and latitude in degrees, NaN if unknown.

    Raises:
        ValueError: no place has coordinates.
    """

    def __init__(self, places: NDArray[np.float32]) -> None:
        self.located = located_places(places)
        if len(self.located) == 0:
            raise ValueError("no place has coordinates")
        longitudes, latitudes = np.asarray(places[self.located], np.float64).T
        self.view = choose_view(longitudes, latitudes)
        self._points = self.view.project(longitudes, latitudes).astype(np.float32)
        self._shape = (max(1, round(self.view.height * SCALE)), WIDTH * SCALE)
        columns, rows = (self._points * SCALE).astype(np.int64).T
        self._cells = np.clip(rows, 0, self._shape[0] - 1) * self._shape[1] + np.clip(columns, 0, self._shape[1] - 1)
        self._land = draw_ground(self.view)
        self._all = self._ground(np.arange(len(self.located)))

    def draw(
        self,
        distances: NDArray[np.float32] | None = None,
        lit: Sequence[int] = (),
        asked: int | None = None,
        *,
        among: NDArray[np.bool_] | None = None,
        part: Part | None = None,
    ) -> Markup:
        """Draws the map as inline SVG in its frame, without any untrusted text.

        Args:
            distances: (n,) distances from the query to all pairs; smaller is hotter. None draws no heat.
            lit: numbers of the results, best first; those with coordinates are marked with their rank.
            asked: number of the query pair.
            among: (n,) which pairs are drawn and compared; None for all.
            part: box of the drawing whose places are compared with each other, in squares; None for smooth heat.
        """
        ground = self._all if among is None else self._ground(np.flatnonzero(among[self.located]))
        caption = Markup("")
        if distances is None or len(ground.chosen) == 0:
            heat = Markup("")
        elif part is None:
            heat = self._layer(self._heat(ground, distances[self.located[ground.chosen]]), "heat")
        else:
            points, numbers = self._points[ground.chosen], self.located[ground.chosen]
            heat, count = draw_part_heat(part, points, distances[numbers])
            caption = _part_caption(count)
        # The first result is drawn last, on top of the others.
        marks = [self._mark(number, "answer", str(place)) for place, number in reversed(list(enumerate(lit, start=1)))]
        marks += [] if asked is None else [self._mark(asked, "asked", "")]
        drawing = Markup(
            '<svg class="map" viewBox="0 0 {} {:.0f}" role="img" aria-label="Map of {} places{}">{}{}{}<g>{}</g></svg>'
        ).format(
            WIDTH,
            self.view.height,
            f"{len(ground.chosen):,}",
            "" if distances is None else "; heat shows similarity to the query; results are numbered",
            *((self._land, heat, ground.dots) if part else (self._land, ground.dots, heat)),
            Markup("").join(marks),
        )
        return zoomable(drawing, None if distances is None else PART_BUTTONS) + caption

    def nearest(self, x: float, y: float, among: NDArray[np.bool_] | None = None) -> int | None:
        """Number of the pair, of those in `among`, nearest to a position in the drawing; None if there is none."""
        chosen = self._all.chosen if among is None else np.flatnonzero(among[self.located])
        if len(chosen) == 0:
            return None
        apart = np.square(self._points[chosen] - np.array([x, y], np.float32)).sum(axis=1)
        return int(self.located[chosen[apart.argmin()]])

    def _ground(self, chosen: NDArray[np.int64]) -> _Ground:
        cells = self._cells[chosen]
        counts = self._binned(cells, None)
        smoothing = float(np.clip(520 / np.sqrt(max(1, len(chosen))), NARROWEST_SMOOTHING, WIDEST_SMOOTHING))
        to_place = cv2.distanceTransform((counts == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        nearness = np.exp(-0.5 * np.square(to_place / (smoothing * SCALE)))
        few = len(chosen) <= MOST_CIRCLES
        dots = self._circles(chosen) if few else self._layer(_dots(counts, len(chosen)), "places")
        return _Ground(chosen, cells, counts, smoothing, nearness, dots)

    def _circles(self, chosen: NDArray[np.int64]) -> Markup:
        radius = dot_radius(max(1, len(chosen)))
        circle = '<circle cx="{:.2f}" cy="{:.2f}" r="{:.1f}"/>'
        circles = "".join(circle.format(x, y, radius) for x, y in self._points[chosen].tolist())
        return Markup('<g class="dots" style="--dot:{:.1f}px">{}</g>').format(radius, Markup(circles))

    def _mark(self, number: int, kind: str, text: str) -> Markup:
        found = int(np.searchsorted(self.located, number))
        if found == len(self.located) or self.located[found] != number:
            return Markup("")
        x, y = self._points[found].tolist()
        return Markup(
            '<g class="{}" transform="translate({:.1f} {:.1f})"><circle r="{}"/><text dy=".36em">{}</text></g>'
        ).format(kind, x, y, 13 if kind == "asked" else 9.5, text)

    def _binned(self, cells: NDArray[np.int64], weights: NDArray[np.float64] | None) -> NDArray[np.float32]:
        size = self._shape[0] * self._shape[1]
        return np.bincount(cells, weights, minlength=size).reshape(self._shape).astype(np.float32)

    def _heat(self, ground: _Ground, distances: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(height, width, 4): the kernel-weighted mean of the places' ranks, which is independent of scale."""
        # Ties have their average rank, so that collapsed embeddings show no heat.
        ranks = 1 - (rankdata(distances) - 1) / max(1, len(distances) - 1)
        # The kernel's standard deviation in cells of the field, which are `FIELD_STEP` raster pixels wide.
        sigma = ground.smoothing * SCALE / FIELD_STEP
        weights = self._blurred(ground.counts, sigma)
        field = self._blurred(self._binned(ground.cells, ranks), sigma) / np.maximum(weights, 1e-12)
        strongest = max(float(np.percentile(field[weights > weights.max() * 1e-3], 99.7)), FAINTEST_PEAK)
        share = self._whole(np.clip((field - 0.5) / (strongest - 0.5), 0, 1))
        opacity = ground.nearness * share
        stops, colours = [stop for stop, _ in HEAT_STOPS], [colour for _, colour in HEAT_STOPS]
        channels = [np.interp(share, stops, channel) for channel in zip(*colours, strict=True)][::-1]
        return np.stack([*channels, 255 * STRONGEST_HEAT * opacity], axis=-1).round().astype(np.uint8)

    def _blurred(self, values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        """Smoothed sums over the field's cells; for a wide kernel, coarse cells are enough."""
        height, width = self._shape
        size = (width // FIELD_STEP, max(1, height // FIELD_STEP))
        sums = cv2.resize(values, size, interpolation=cv2.INTER_AREA) * FIELD_STEP**2
        return np.asarray(cv2.GaussianBlur(sums, (0, 0), sigma), np.float32)

    def _whole(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(field, self._shape[::-1]), np.float32)

    def _layer(self, picture: NDArray[np.uint8], kind: str) -> Markup:
        done, png = cv2.imencode(".png", picture)
        assert done
        return Markup('<image class="{}" href="{}" width="{}" height="{:.0f}" preserveAspectRatio="none"/>').format(
            kind, data_uri("image/png", png.tobytes()), WIDTH, self.view.height
        )


def _dots(counts: NDArray[np.float32], num_places: int) -> NDArray[np.uint8]:
    """(height, width, 4) blue, green, red, opacity: one dot per place, more opaque where there are many."""
    radius = max(1, round(dot_radius(num_places) * SCALE / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Logarithmic, because a city may have a thousand times as many places as an island.
    share = np.log1p(counts) / max(float(np.log1p(counts.max())), 1e-9)
    dots = cv2.dilate(share, disc)
    picture = np.zeros((*counts.shape, 4), np.uint8)
    picture[..., :3] = PLACE_COLOUR[::-1]
    picture[..., 3] = np.where(dots > 0, 110 + 110 * dots, 0).astype(np.uint8)
    return picture


def _part_caption(count: int) -> Markup:
    if count == 0:
        return Markup('<p class="soft part-caption">There are no places in this part of the map.</p>')
    return Markup(
        '<p class="soft part-caption">Heat of this part: its {} place{} compared with each other; a square has the '
        'mean over its places. <span class="ramp">least similar {} most similar</span></p>'
    ).format(f"{count:,}", "s" if count > 1 else "", LEGEND)
