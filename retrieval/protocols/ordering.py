"""How a direction orders its gallery: distances by direct subtraction, and faster ones whose rounding is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

_EPSILON, _TINY = (float(getattr(np.finfo(np.float64), name)) for name in ("eps", "tiny"))


@dataclass(frozen=True)
class Ordering:
    """A gallery ordered by Euclidean distance, divided by a scale of each item where there is one.

    Attributes:
        queries: (n, d).
        gallery: (n, d); row i is the true match of query i.
        scales: (n,) positive divisors of the distances to each item; None if they are not scaled.
    """

    queries: NDArray[np.floating]
    gallery: NDArray[np.floating]
    scales: NDArray[np.float64] | None = None

    def distances(self, numbers: Sequence[int] | NDArray[np.intp]) -> NDArray[np.float64]:
        """The distances of some queries to all items, (q, n); equal rows have equal distances."""
        distances = euclidean_distances(self.queries[numbers], self.gallery)
        return distances if self.scales is None else np.asarray(distances / self.scales)


class ProductDistances:
    """Squared distances of an ordering by matrix products, which are fast but round differently from pair to pair."""

    def __init__(self, ordering: Ordering) -> None:
        queries, gallery = (np.asarray(side, np.float64) for side in (ordering.queries, ordering.gallery))
        # Rounding errors grow with the norms, and distances don't depend on the origin: move it to the points' centre.
        centre = (queries.mean(axis=0) + gallery.mean(axis=0)) / 2
        queries, gallery = queries - centre, gallery - centre
        norms, gallery_norms = (np.einsum("nd,nd->n", side, side)[:, None] for side in (queries, gallery))
        ones = np.ones_like(norms)
        # Products of these rows are |q|² − 2 q·g + |g|².
        self._left = np.concatenate([-2.0 * queries, norms, ones], axis=1)
        self._right = np.concatenate([gallery, ones, gallery_norms], axis=1)
        self._norms, self._largest_norm = norms[:, 0], float(gallery_norms.max())
        self._weights = None if ordering.scales is None else ordering.scales**-2

    def squares(self, start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The squared distances of consecutive queries to all items.

        Args:
            start: number of the first query.
            stop: number after that of the last.

        Returns:
            (q, n), and (q,) by how much they may differ from the squares of `Ordering.distances`.
        """
        squares = self._left[start:stop] @ self._right.T
        # A product of d terms is off by d times half an epsilon of their absolute sum at most (Higham 2002, section
        # 3.1), here of twice both norms; norms, centring, and the root and square of the exact distances add a few.
        relative = 4 * (self._left.shape[1] + 16) * _EPSILON
        tolerances = relative * (self._norms[start:stop] + self._largest_norm) + _TINY
        if self._weights is not None:
            squares *= self._weights
            tolerances = tolerances * self._weights.max()
        return squares, tolerances


def euclidean_distances(queries: NDArray[np.floating], gallery: NDArray[np.floating]) -> NDArray[np.float64]:
    """Euclidean distances in float64, (q, n).

    They are computed by subtraction, so that equal embeddings have equal distances, which a matrix product does not
    guarantee.
    """
    ones, others = (torch.from_numpy(np.ascontiguousarray(side)).double() for side in (queries, gallery))
    return np.asarray(torch.cdist(ones, others, compute_mode="donot_use_mm_for_euclid_dist").numpy())
