"""Counts the items nearer than a true match, and those as near: fast in float32 where its rounding can't matter.

A matrix product rounds differently from pair to pair, so it can break a tie or swap two nearly tied items. It decides
only the comparisons that its rounding can't affect: in float32 first, then, in a tile where that leaves many open, in
float64. The rest are decided by direct subtraction in float64, in which equal rows give bit-identical distances.
Bands of rows are dealt out to threads, because NumPy compares on one thread and would leave the others idle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

ROWS_PER_TILE = 248
"""At most 255, for columns are counted in bytes."""
COLUMNS_PER_TILE = 2048
PAIRS_PER_CHUNK = 16_384
"""Pairs per chunk when distances are computed by direct subtraction."""
MOST_UNDECIDED = 1 / 64
"""Share of a tile; above it, deciding the whole tile in float64 is cheaper."""
MOST_DIMENSIONS = 10_000
"""Of float32: the bound on its rounding grows with them."""

_EPSILON, _TINY = (
    {kind: float(getattr(np.finfo(kind), name)) for kind in (np.float32, np.float64)} for name in ("eps", "tiny")
)
"""As float64, for arithmetic with what float32 can't hold."""


@dataclass(frozen=True)
class RankBounds:
    """The position of each query's true match in its gallery.

    Attributes:
        nearer: (n,) int64, number of gallery items strictly nearer than the true match.
        tied: (n,) int64, number of gallery items exactly as near as the true match, itself included (at least 1).
    """

    nearer: NDArray[np.int64]
    tied: NDArray[np.int64]

    @property
    def ranks(self) -> NDArray[np.float64]:
        """(n,) average ranks, from 1 to the gallery's size."""
        return self.nearer + (self.tied + 1) / 2


class _Tile(NamedTuple):
    """A block of squared distances, and bounds on their rounding errors of each query and of each item."""

    distances: NDArray[np.floating]
    tolerances: tuple[NDArray[np.float64], NDArray[np.float64]]
    scale: float


def count_bounds(
    queries: NDArray[np.float64], gallery: NDArray[np.float64], *, both_ways: bool
) -> tuple[RankBounds, RankBounds]:
    """Counts, over tiles of the distance matrix, what is nearer than the true match and what is as near.

    Args:
        queries: (n, d).
        gallery: (n, d); row i is the true match of query i.
        both_ways: whether the gallery's items are queries too.

    Returns:
        The bounds of the queries, and of the gallery's items, which stay zero unless `both_ways`.

    Raises:
        ValueError: for an empty gallery, shapes that differ, values that are not finite or overflow when squared.
    """
    if queries.ndim != 2 or queries.shape != gallery.shape:
        raise ValueError(
            f"embeddings must both be (n, d) with the same n and d, got {queries.shape} and {gallery.shape}"
        )
    if queries.size == 0:
        raise ValueError(f"embeddings must not be empty, got shape {queries.shape}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise ValueError("embeddings must be finite, got NaN or infinity")
    pairs = _Pairs(queries, gallery)
    tops = range(0, len(queries), ROWS_PER_TILE)
    num_threads = min(torch.get_num_threads(), len(tops))
    if num_threads == 1:
        return _count(pairs, tops, both_ways)
    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(num_threads) as threads:
        parts = threads.map(lambda first: _count(pairs, tops[first::num_threads], both_ways), range(num_threads))
        first, second = zip(*parts, strict=True)
    return _summed(first), _summed(second)


@cache
def _blas() -> ThreadpoolController:
    """Searches the loaded libraries once: it takes as long as ranking 500 pairs."""
    return ThreadpoolController()


def _count(pairs: _Pairs, tops: range, both_ways: bool) -> tuple[RankBounds, RankBounds]:
    """What some bands of rows add to the bounds of the queries and of the gallery's items."""
    n = pairs.size
    found = tuple(RankBounds(np.zeros(n, np.int64), np.zeros(n, np.int64)) for _ in range(2))
    # The same memory for every tile: new pages would take as long as the products.
    memory = np.empty(ROWS_PER_TILE * COLUMNS_PER_TILE, np.float32)
    for top in tops:
        for left in range(0, n, COLUMNS_PER_TILE):
            place = (slice(top, min(top + ROWS_PER_TILE, n)), slice(left, min(left + COLUMNS_PER_TILE, n)))
            for axis, (counts, undecided) in enumerate(pairs.compare(place, 2 if both_ways else 1, memory)):
                found[axis].nearer[place[axis]] += counts
                pairs.decide(found[axis], undecided, place, axis)
    return found[0], found[1]


def _summed(parts: Sequence[RankBounds]) -> RankBounds:
    return RankBounds(np.sum([part.nearer for part in parts], axis=0), np.sum([part.tied for part in parts], axis=0))


class _Pairs:
    """The distances between queries and gallery: those of matrix products, and exact ones pair by pair."""

    def __init__(self, queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> None:
        self.size = len(queries)
        self._rows = (queries, gallery)
        # Rounding errors grow with the norms, and distances don't depend on the origin: move it to the points' centre.
        centre = (queries.mean(axis=0) + gallery.mean(axis=0)) / 2
        self._centred = (queries - centre, gallery - centre)
        self._norms = tuple(np.einsum("nd,nd->n", rows, rows) for rows in self._centred)
        if not all(np.isfinite(norms).all() for norms in self._norms):
            raise ValueError("embeddings are too large: their squared norms overflow float64")
        self._ids = tuple(_row_ids(rows) for rows in self._rows)
        everyone = np.arange(len(queries))
        self._true = self._direct(everyone, everyone)
        self._single = self._in_float32() if queries.shape[1] <= MOST_DIMENSIONS else None

    def compare(
        self, place: tuple[slice, slice], axes: int, memory: NDArray[np.float32]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.intp]]]:
        """What the matrix product decides of a tile, for queries along its first axis, and along the second.

        Args:
            place: rows and columns of the tile.
            axes: 1 or 2.
            memory: room for a tile.

        Returns:
            For each axis: how many items are surely nearer, by query, and the undecided places of the flat tile.
        """
        found = []
        for tile in self._tiles(place, memory):
            found = [self._compare_along(tile, place, axis) for axis in range(axes)]
            if max(len(undecided) for _, undecided in found) <= MOST_UNDECIDED * tile.distances.size:
                break
        return found

    def decide(
        self, bounds: RankBounds, undecided: NDArray[np.intp], place: tuple[slice, slice], query_axis: int
    ) -> None:
        """Adds the undecided pairs of a tile to `bounds`; queries run along `query_axis`, items along the other."""
        of_row, of_column = np.divmod(undecided, place[1].stop - place[1].start)
        pair = (of_row + place[0].start, of_column + place[1].start)
        query, item = pair[query_axis], pair[1 - query_axis]
        # A copy of the true match is tied by construction; otherwise collapsed embeddings would take n² subtractions.
        gallery_ids = self._ids[1 - query_axis]
        copies = gallery_ids[item] == gallery_ids[query]
        np.add.at(bounds.tied, query[copies], 1)
        others = np.flatnonzero(~copies)
        for start in range(0, len(others), PAIRS_PER_CHUNK):
            chunk = others[start : start + PAIRS_PER_CHUNK]
            exact, true_of_chunk = self._direct(pair[0][chunk], pair[1][chunk]), self._true[query[chunk]]
            np.add.at(bounds.nearer, query[chunk[exact < true_of_chunk]], 1)
            np.add.at(bounds.tied, query[chunk[exact == true_of_chunk]], 1)

    def _in_float32(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """Rows (n, d + 2) whose products are squared distances, of both kinds, and by what these are scaled.

        The largest norm becomes at most 1, so that no product overflows.
        """
        largest = max(float(norms.max()) for norms in self._norms)
        scale = 2.0 ** -np.frexp(np.sqrt(largest))[1]  # a power of two, so that it rounds nothing
        queries, gallery = (rows * scale for rows in self._centred)
        norms, others = (values[:, None] * scale**2 for values in self._norms)
        ones = np.ones_like(norms)
        left = np.concatenate([-2 * queries, norms, ones], axis=1, dtype=np.float32, casting="same_kind")
        right = np.concatenate([gallery, ones, others], axis=1, dtype=np.float32, casting="same_kind")
        return left, right, float(scale**2)

    def _tiles(self, place: tuple[slice, slice], memory: NDArray[np.float32]) -> Iterator[_Tile]:
        """A tile in float32, where that is of use, and in float64."""
        rows, columns = place
        norms = (self._norms[0][rows], self._norms[1][columns])
        dimensions = self._rows[0].shape[1]
        sums = (norms[0] + norms[1].max(), norms[1] + norms[0].max())
        if self._single is not None:
            left, right, scale = self._single
            # A product of k terms, each rounded, is off by k times half an epsilon of their absolute sum at most
            # (Higham 2002, section 3.1), here of twice both norms; rounded inputs add a few terms' worth.
            relative, least = (dimensions + 16) * _EPSILON[np.float32], 4 * (dimensions + 16) * _TINY[np.float32]
            tolerances = (relative * scale * sums[0] + least, relative * scale * sums[1] + least)
            shape = (len(norms[0]), len(norms[1]))
            distances = memory[: shape[0] * shape[1]].reshape(shape)
            yield _Tile(np.matmul(left[rows], right[columns].T, out=distances), tolerances, scale)
        distances = (-2.0 * self._centred[0][rows]) @ self._centred[1][columns].T
        distances += norms[0][:, None]
        distances += norms[1][None, :]
        relative = 4 * (dimensions + 8) * _EPSILON[np.float64]
        yield _Tile(distances, (relative * sums[0] + _TINY[np.float64], relative * sums[1] + _TINY[np.float64]), 1.0)

    def _compare_along(
        self, tile: _Tile, place: tuple[slice, slice], axis: int
    ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        kind = tile.distances.dtype
        true, tolerance = self._true[place[axis]] * tile.scale, tile.tolerances[axis]
        # Rounded away from the true distance.
        low = np.nextafter((true - tolerance).astype(kind), kind.type(-np.inf))
        high = np.nextafter((true + tolerance).astype(kind), kind.type(np.inf))
        nearer = tile.distances < np.expand_dims(low, 1 - axis)
        undecided = tile.distances <= np.expand_dims(high, 1 - axis)
        undecided ^= nearer
        if axis == 0:
            counts = np.array([np.count_nonzero(row) for row in nearer], dtype=np.int64)
        else:
            counts = nearer.view(np.uint8).sum(axis=0, dtype=np.uint8).astype(np.int64)
        return counts, np.flatnonzero(undecided)

    def _direct(self, queries: NDArray[np.intp], items: NDArray[np.intp]) -> NDArray[np.float64]:
        squared = np.empty(len(queries))
        for start in range(0, len(queries), PAIRS_PER_CHUNK):
            chunk = slice(start, start + PAIRS_PER_CHUNK)
            difference = self._rows[0][queries[chunk]] - self._rows[1][items[chunk]]
            squared[chunk] = np.square(difference, out=difference).sum(axis=1)
        return squared


def _row_ids(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers the distinct rows: equal rows share a number."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows], dtype=np.int64)
