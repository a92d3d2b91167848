"""D@k: kilometres from the true place to the nearest place of the top k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking.scores import DIRECTIONS, KM_AT
from retrieval.place_distances import chances_of_minimum, km_of, points_of, squared_chords
from retrieval.protocols.ordering import Ordering, ProductDistances
from retrieval.protocols.protocol import Protocol, Ranking
from shards.progress import ProgressLine
from shards.schema import place_of

PAIRS_AT_ONCE = 2**20
"""Of queries and items: few enough for the processor's cache and for large galleries, enough for fast products."""
NEGLIGIBLE = 1e-18
"""A probability by which no distance on Earth changes a figure."""


@dataclass(frozen=True)
class DistancesAtK:
    """D@k by key, `km_at_k`, of each k that does not exceed the gallery; none if a pair has no place.

    Attributes:
        of_queries: direction → key → (q,) kilometres of each query.
        chance: key → the mean that is expected of a random order.
    """

    of_queries: dict[str, dict[str, NDArray[np.float64]]]
    chance: dict[str, float]

    def means(self) -> dict[str, dict[str, float]]:
        """The means over the queries of both directions, and chance."""
        means = {part: {key: float(km.mean()) for key, km in of.items()} for part, of in self.of_queries.items()}
        return means | {"chance": self.chance}


def distances_at_k(protocol: Protocol, ranking: Ranking, metadata: list[dict[str, Any]]) -> DistancesAtK:
    """D@k of both directions and of chance, as the code of SoundingEarth's authors has it (Heidler et al., 2021).

    Args:
        protocol: how items are ordered, and which queries count.
        ranking: n ranked pairs.
        metadata: of each, with longitude and latitude.
    """
    n = len(metadata)
    ks = [k for k in KM_AT if k <= n]
    found = [place_of(entry) for entry in metadata]
    known = [place for place in found if place is not None]
    if not ks or len(known) < n:
        return DistancesAtK({direction: {} for direction in DIRECTIONS}, {})
    points = points_of(np.array(known))
    num_queries = protocol.num_queries(n)
    chance = _Chance(n, ks)
    tops = {direction: _Tops(protocol, protocol.ordering(ranking, direction), ks) for direction in DIRECTIONS}
    with ProgressLine("distances to places", num_queries) as progress:
        at_once = max(1, PAIRS_AT_ONCE // n)
        for start in range(0, num_queries, at_once):
            stop = min(num_queries, start + at_once)
            chords = squared_chords(points[start:stop], points)
            for top in tops.values():
                top.add(start, stop, chords)
            chance.add(chords)
            progress.advance(stop - start)
    of_queries = {
        direction: {KM_AT[k].key: np.concatenate(parts) for k, parts in top.km.items()}
        for direction, top in tops.items()
    }
    return DistancesAtK(of_queries, {KM_AT[k].key: total / num_queries for k, total in chance.totals().items()})


class _Tops:
    """The kilometres from each query of one direction to the nearest place of its top k.

    Attributes:
        km: of each k, in parts.
    """

    def __init__(self, protocol: Protocol, ordering: Ordering, ks: list[int]) -> None:
        self.km: dict[int, list[NDArray[np.float64]]] = {k: [] for k in ks}
        self._protocol, self._ordering, self._products = protocol, ordering, ProductDistances(ordering)

    def add(self, start: int, stop: int, chords: NDArray[np.float64]) -> None:
        """Adds consecutive queries, whose squared chords to all places are (q, n).

        An item surely belongs to the top k if its product exceeds the k-th least one by no more than rounding can
        explain, and no more than k items do so. Queries with more of them, which may be tied, take exact distances.
        """
        squares, tolerances = self._products.squares(start, stop)
        nearest: dict[int, NDArray[np.float64]] = {}
        is_open = np.zeros(stop - start, bool)
        least = squares
        for k in sorted(self.km, reverse=True):
            least = np.partition(least, k - 1, axis=1)[:, :k]
            is_within = squares <= (least[:, k - 1] + 2 * tolerances)[:, None]
            counts = np.count_nonzero(is_within, axis=1)
            nearest[k] = km_of(np.minimum.reduceat(chords[is_within], np.cumsum(counts) - counts))
            is_open |= counts > k
        rows = np.flatnonzero(is_open)
        if len(rows):
            distances, km = self._ordering.distances(start + rows), km_of(chords[rows])
            for k, values in nearest.items():
                values[rows] = self._protocol.nearest_km(distances, km, k)
        for k, values in nearest.items():
            self.km[k].append(values)


class _Chance:
    """Sums, over queries, the kilometres that are expected of k places drawn at random."""

    def __init__(self, gallery_size: int, ks: list[int]) -> None:
        self._chances = {k: chances_of_minimum(gallery_size, k) for k in ks}
        # So few of the nearest places matter: the others are hardly ever the nearest of k.
        counts = (np.searchsorted(-chances, -NEGLIGIBLE, side="right") for chances in self._chances.values())
        self._sums = np.zeros(max(counts))

    def add(self, chords: NDArray[np.float64]) -> None:
        """Adds queries, whose squared chords to all places are (q, n)."""
        count = len(self._sums)
        if count < chords.shape[1]:
            chords = np.partition(chords, count - 1, axis=1)[:, :count]
        self._sums += km_of(np.sort(chords, axis=1)).sum(axis=0)

    def totals(self) -> dict[int, float]:
        """The sum of each k."""
        return {k: float(chances[: len(self._sums)] @ self._sums) for k, chances in self._chances.items()}
