"""Nearest neighbours in an embedding space; the one file that imports faiss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32_SLACK = 1e-5
"""Relative error that a squared distance from faiss, computed in float32, is allowed."""


class NearestNeighbours:
    """Exact Euclidean nearest neighbours: faiss proposes candidates, float64 puts them in order.

    Args:
        gallery: (n, d) embeddings, n > 0.

    Raises:
        ValueError: the gallery is empty or not two-dimensional.
    """

    def __init__(self, gallery: NDArray[Any]) -> None:
        import faiss  # takes a second to load, and only searching needs it

        if gallery.ndim != 2 or gallery.size == 0:
            raise ValueError(f"gallery must be (n, d) with n > 0, got shape {gallery.shape}")
        self._gallery = np.asarray(gallery, dtype=np.float64)
        # Distances don't change with the origin, but their rounding in float32 does.
        self._centre = self._gallery.mean(axis=0)
        centred = np.ascontiguousarray(self._gallery - self._centre, dtype=np.float32)
        self._largest_norm = float(np.square(centred).sum(axis=1).max())
        self._index = faiss.IndexFlatL2(gallery.shape[1])
        self._index.add(centred)

    def search(self, queries: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Finds the nearest gallery items of each query.

        Args:
            queries: (q, d).
            count: how many; a smaller gallery gives all it has.

        Returns:
            Numbers of the gallery items, (q, min(count, n)) int64, nearest first and the lower number first among
            the equally near; and their distances, float64.
        """
        count = min(count, len(self._gallery))
        queries = np.asarray(queries, dtype=np.float64)
        numbers = np.empty((len(queries), count), dtype=np.int64)
        distances = np.empty((len(queries), count))
        for row, query in enumerate(queries):
            numbers[row], distances[row] = self._search_one(query, count)
        return numbers, distances

    def _search_one(self, query: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        centred = np.ascontiguousarray((query - self._centre)[None], dtype=np.float32)
        slack = FLOAT32_SLACK * (self._largest_norm + float(np.square(centred).sum()))
        num_candidates = count + 16
        while True:
            rough, candidates = self._index.search(centred, min(num_candidates, len(self._gallery)))
            found = np.sort(candidates[0])
            squared = np.square(self._gallery[found] - query).sum(axis=1)
            nearest = np.argsort(squared, kind="stable")[:count]
            # What faiss left out is farther than its last candidate, give or take its rounding.
            if len(found) == len(self._gallery) or squared[nearest[-1]] < rough[0, -1] - slack:
                return found[nearest], np.sqrt(squared[nearest])
            num_candidates *= 4
