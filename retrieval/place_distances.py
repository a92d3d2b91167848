"""Great-circle distances between places, and how far the nearest place of a top k is expected to be."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from shards.building.splitting import EARTH_RADIUS_KM


def points_of(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on the unit sphere, (n, 3), of places (n, 2) with longitude and latitude in degrees."""
    longitudes, latitudes = np.radians(places).T
    return np.stack(
        [np.cos(latitudes) * np.cos(longitudes), np.cos(latitudes) * np.sin(longitudes), np.sin(latitudes)], axis=1
    )


def squared_chords(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared straight distances between points on the unit sphere; they order places as great circles do at less cost.

    Args:
        points: (q, 3).
        others: (n, 3).

    Returns:
        (q, n) within [0, 4], by subtraction, so that small distances keep their precision.
    """
    squares = np.zeros((len(points), len(others)))
    for axis in range(3):
        differences = np.subtract.outer(points[:, axis], others[:, axis])
        squares += np.square(differences, out=differences)
    return squares


def km_of(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle kilometres, on a sphere of the Earth's mean radius, of `squared_chords`."""
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, squares / 4))))


def expected_nearest_km(distances: NDArray[np.float64], km: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Expected kilometres to the nearest place of each query's top k, over a random order of tied items.

    With s items strictly nearer than the k-th, k − s of the t items tied with it are drawn. The i-th nearest place of
    the tied is the nearest of those drawn with probability C(t − i, k − s − 1) / C(t, k − s).

    Args:
        distances: (q, n) by which items are ordered.
        km: (q, n) kilometres from the query to each item.
        k: size of the top, within [1, n].

    Returns:
        (q,) kilometres.
    """
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1, None]
    is_nearer, is_within = distances < kth, distances <= kth
    nearest = np.where(is_within, km, np.inf).min(axis=1)
    num_nearer, num_within = is_nearer.sum(axis=1), is_within.sum(axis=1)
    for row in np.flatnonzero(num_within > k):
        sure = km[row, is_nearer[row]].min(initial=np.inf)
        values = np.sort(np.minimum(km[row, is_within[row] & ~is_nearer[row]], sure))
        nearest[row] = chances_of_minimum(len(values), int(k - num_nearer[row])) @ values
    return nearest


@functools.lru_cache(maxsize=64)
def chances_of_minimum(num_values: int, num_drawn: int) -> NDArray[np.float64]:
    """The probability of each of some values to be the least of those drawn without replacement.

    Args:
        num_values: t, at least 1.
        num_drawn: m, within [1, t].

    Returns:
        (t,) probabilities, of the values in ascending order, read-only.
    """
    ranks = np.arange(1, num_values)
    # The i-th is the minimum only if none before it is drawn: p(i + 1) = p(i) (t - i - m + 1) / (t - i).
    factors = np.maximum(0, num_values - ranks - num_drawn + 1) / (num_values - ranks)
    chances = num_drawn / num_values * np.concatenate([[1.0], np.cumprod(factors)])
    chances.flags.writeable = False
    return np.asarray(chances)
