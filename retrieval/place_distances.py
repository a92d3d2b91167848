"""Great-circle distances between places, and how far the nearest place of a top k is expected to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shards.building.splitting import EARTH_RADIUS_KM


def great_circle_km(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances on a sphere of the Earth's mean radius (haversine formula).

    Args:
        places: (q, 2) longitude and latitude in degrees.
        others: (n, 2) likewise.

    Returns:
        (q, n) kilometres.
    """
    (longitudes, latitudes), (other_longitudes, other_latitudes) = np.radians(places).T, np.radians(others).T
    squares = (
        np.sin((other_latitudes - latitudes[:, None]) / 2) ** 2
        + np.cos(latitudes)[:, None]
        * np.cos(other_latitudes)
        * np.sin((other_longitudes - longitudes[:, None]) / 2) ** 2
    )
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, squares))))


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
    nearest = np.where(distances < kth, km, np.inf).min(axis=1)
    tied = distances == kth
    num_drawn = k - (distances < kth).sum(axis=1)
    for row in range(len(distances)):
        values = np.sort(np.minimum(km[row, tied[row]], nearest[row]))
        nearest[row] = values[0] if num_drawn[row] == len(values) else expected_minimum(values, int(num_drawn[row]))
    return nearest


def expected_minimum(values: NDArray[np.float64], num_drawn: int) -> float:
    """The expected minimum of some values drawn without replacement.

    Args:
        values: (t,) in ascending order.
        num_drawn: number of values drawn, within [1, t].
    """
    t = len(values)
    ranks = np.arange(1, t)
    # The i-th is the minimum only if none before it is drawn: p(i + 1) = p(i) (t - i - m + 1) / (t - i).
    factors = np.maximum(0, t - ranks - num_drawn + 1) / (t - ranks)
    probabilities = num_drawn / t * np.concatenate([[1.0], np.cumprod(factors)])
    return float(probabilities @ values)
