"""Finds places far from all others that would lie among them if latitude and longitude were swapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shards.building.splitting import EARTH_RADIUS_KM
from shards.schema import Pair

FAR_KM = 500.0
"""Nearest distance to the others of a place that may be wrong, and the longest diagonal of a box around the others."""
NEAR_KM = 50.0
"""A swapped place lies no further than this from the box of the others."""
FEWEST_OTHERS = 3
"""Of fewer places, none is the rule from which another is the exception."""


def swapped_places(pairs: Sequence[Pair], unit: str) -> Iterator[str]:
    """A sentence on each pair whose latitude and longitude seem swapped.

    Nothing is said of a corpus whose other places do not lie within one box of 500 km: far places are usual there.

    Args:
        pairs: those with a place in the table.
        unit: what places in the table are counted in.
    """
    placed = [pair for pair in pairs if pair.longitude is not None and pair.latitude is not None]
    places = np.array([(pair.longitude, pair.latitude) for pair in placed], np.float64).reshape(-1, 2)
    if len(places) <= FEWEST_OTHERS:
        return
    # Most places lie together, so their median is among them; those far from it are the candidates.
    is_far = _km(places, np.median(places, axis=0)) > FAR_KM
    others = places[~is_far]
    if len(others) < FEWEST_OTHERS or len(others) <= is_far.sum():
        return
    low, high = others.min(axis=0), others.max(axis=0)
    if _km(low, high) >= FAR_KM:
        return
    swapped = places[:, ::-1]
    is_swapped = is_far & (np.abs(swapped[:, 1]) <= 90) & (_km(swapped, np.clip(swapped, low, high)) <= NEAR_KM)
    if (is_far & ~is_swapped).any():
        return
    for number in np.flatnonzero(is_far):
        nearest = float(_km(others, places[number]).min())
        if nearest > FAR_KM:
            where = f"{unit} {placed[number].place}" if placed[number].place else placed[number].key
            longitude, latitude = places[number]
            place = f"latitude {latitude:g}, longitude {longitude:g}"
            yield f"{where}: {place} is {nearest:,.0f} km from all others; latitude and longitude swapped?"


def _km(places: NDArray[np.float64], to: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances in km of longitudes and latitudes in degrees (..., 2), on a sphere."""
    one, other = np.radians(places), np.radians(to)
    half = np.sin((one - other) / 2) ** 2
    chord = half[..., 1] + np.cos(one[..., 1]) * np.cos(other[..., 1]) * half[..., 0]
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
