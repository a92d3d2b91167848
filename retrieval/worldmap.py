"""The report's map as inline SVG: land, and a dot per pair, coloured by the rank of its true match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from retrieval.map_zoom import zoomable
from shards.geography.map_view import WIDTH, View, choose_view, dot_radius, draw_ground

MAX_NAMED_DOTS = 2000

RANK_CLASSES = (
    ("first 1 %", 0.01),
    ("1 to 10 %", 0.10),
    ("10 to 25 %", 0.25),
    ("25 to 50 %", 0.50),
    ("worse than chance", 1.00),
)
"""Name and upper end, as a fraction of the gallery, of each colour."""


@dataclass(frozen=True)
class Place:
    """A pair on the map.

    Attributes:
        longitude: degrees east, [-180, 180].
        latitude: degrees north, [-90, 90].
        title: tooltip of the dot.
    """

    longitude: float
    latitude: float
    title: str


def rank_class(ranks: NDArray[np.float64], gallery_size: int) -> NDArray[np.int64]:
    """The colour class of each rank, an index of `RANK_CLASSES`."""
    # Rank 1 always belongs to the best class, even if one rank is more than one percent of the gallery.
    shares = np.where(ranks <= 1, 0.0, ranks / gallery_size)
    return np.searchsorted([upper for _, upper in RANK_CLASSES[:-1]], shares, side="left")


def view_of(places: list[Place]) -> View:
    """The view that holds all places, with a margin."""
    return choose_view(np.array([place.longitude for place in places]), np.array([place.latitude for place in places]))


def draw_map(places: list[Place], classes: dict[str, NDArray[np.int64]], description: str) -> Markup:
    """Draws the map, which can be zoomed.

    CSS classes give each dot's colour per direction, as in `image_to_sound-0 sound_to_image-3`.

    Args:
        places: locations of the pairs, at least one.
        classes: per direction, the index in `RANK_CLASSES` of each place.
        description: text alternative for screen readers.
    """
    longitudes = np.array([place.longitude for place in places])
    latitudes = np.array([place.latitude for place in places])
    view = view_of(places)
    points = view.project(longitudes, latitudes)
    radius = dot_radius(len(places))
    dots = []
    for number, (place, (x, y)) in enumerate(zip(places, points, strict=True)):
        names = " ".join(f"{direction}-{numbers[number]}" for direction, numbers in classes.items())
        title = Markup("<title>{}</title>").format(place.title) if len(places) <= MAX_NAMED_DOTS else ""
        dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>')
        dots.append(dot.format(names, x, y, radius, title))
    # The size of a dot is a property too, which the page divides by the zoom.
    drawing = Markup(
        '<svg class="map" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}<g class="dots" style="--dot:{:.1f}px">'
        "{}</g></svg>"
    ).format(WIDTH, view.height, description, draw_ground(view), radius, Markup("").join(dots))
    return zoomable(drawing)
