"""Ranks of true matches across modalities, with recall, median rank and MRR: pure maths, exact under ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.ranking_scores import MEAN_RANK, MEDIAN_RANK, MRR, RECALL_AT_10_PERCENT, RECALLS

Embeddings = TypeVar("Embeddings", NDArray[Any], torch.Tensor)
Metrics = dict[str, float | None]
"""The metrics of one direction; None where k exceeds the gallery's size."""

ROWS_PER_TILE = 256
COLUMNS_PER_TILE = 4096
PAIRS_PER_CHUNK = 16_384
"""Pairs per chunk when distances are computed by direct subtraction."""


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


def cross_modal_ranks(query_embeddings: Embeddings, gallery_embeddings: Embeddings) -> Embeddings:
    """Computes the rank of each query's true match by Euclidean distance; query i's true match is gallery item i.

    Args:
        query_embeddings: (n, d), NumPy array or tensor.
        gallery_embeddings: (n, d), of the same kind.

    Returns:
        (n,) float64 ranks from 1 to n, of the same kind; items exactly as near as the true match share their average
        rank.

    Raises:
        ValueError: for an empty gallery, shapes that differ, or values that are not finite.
    """
    nearer, tied = cross_modal_rank_bounds(query_embeddings, gallery_embeddings)
    if isinstance(nearer, torch.Tensor):
        return nearer + (tied + 1).double() / 2
    return nearer + (tied + 1) / 2


def cross_modal_rank_bounds(
    query_embeddings: Embeddings, gallery_embeddings: Embeddings
) -> tuple[Embeddings, Embeddings]:
    """Counts, for each query, the gallery items strictly nearer than its true match and those exactly as near.

    Args:
        query_embeddings: (n, d), NumPy array or tensor.
        gallery_embeddings: (n, d), of the same kind.

    Returns:
        Two (n,) int64 of the same kind: strictly nearer, and tied (the true match included, so at least 1).

    Raises:
        ValueError: for an empty gallery, shapes that differ, or values that are not finite.
    """
    bounds, _ = _count(_as_float64(query_embeddings), _as_float64(gallery_embeddings), both_ways=False)
    if isinstance(query_embeddings, torch.Tensor):
        device = query_embeddings.device
        return torch.from_numpy(bounds.nearer).to(device), torch.from_numpy(bounds.tied).to(device)
    return bounds.nearer, bounds.tied


def rank_bounds_both_ways(
    image_embeddings: NDArray[Any] | torch.Tensor, sound_embeddings: NDArray[Any] | torch.Tensor
) -> tuple[RankBounds, RankBounds]:
    """Counts the bounds of image → sound and sound → image in one pass over the distances.

    Args:
        image_embeddings: (n, d).
        sound_embeddings: (n, d); row i belongs to the image of row i.

    Returns:
        The bounds of image → sound and of sound → image.

    Raises:
        ValueError: for an empty gallery, shapes that differ, or values that are not finite.
    """
    return _count(_as_float64(image_embeddings), _as_float64(sound_embeddings), both_ways=True)


def both_directions(
    image_embeddings: NDArray[Any] | torch.Tensor, sound_embeddings: NDArray[Any] | torch.Tensor
) -> dict[str, Metrics]:
    """Scores image → sound and sound → image retrieval.

    Args:
        image_embeddings: (n, d).
        sound_embeddings: (n, d); row i belongs to the image of row i.

    Returns:
        `{"image_to_sound": metrics, "sound_to_image": metrics}`, as `ranking_metrics` gives them.

    Raises:
        ValueError: for an empty gallery, shapes that differ, or values that are not finite.
    """
    image_to_sound, sound_to_image = rank_bounds_both_ways(image_embeddings, sound_embeddings)
    return {
        "image_to_sound": ranking_metrics(image_to_sound.nearer, image_to_sound.tied),
        "sound_to_image": ranking_metrics(sound_to_image.nearer, sound_to_image.tied),
    }


def ranking_metrics(nearer: NDArray[Any] | torch.Tensor, tied: NDArray[Any] | torch.Tensor) -> Metrics:
    """Turns rank bounds into recalls, ranks and MRR.

    Median and mean rank use the average rank of tied items. Recalls and MRR are the expectation over a random order of
    tied items: with l strictly nearer and t tied, recall@k is clip((k − l) / t, 0, 1) and the reciprocal rank is
    (H(l + t) − H(l)) / t, H being the harmonic numbers. Embeddings collapsed to one point score exactly chance.

    Args:
        nearer: (n,) l of each of the n queries, in a gallery of n.
        tied: (n,) t of each query, at least 1.

    Returns:
        `recall_at_1`, `_5`, `_10`, `_100` and `recall_at_10_percent` (k = ceil(n / 10)) as fractions in [0, 1],
        `median_rank`, `mean_rank` (from 1), `mrr` in (0, 1]. None where k exceeds the gallery's size.

    Raises:
        ValueError: for no queries, shapes that differ, or bounds that are impossible in a gallery of n.
    """
    lower, ties = np.asarray(nearer, dtype=np.int64), np.asarray(tied, dtype=np.int64)
    if lower.ndim != 1 or lower.shape != ties.shape or lower.size == 0:
        raise ValueError(f"nearer and tied must be (n,) with n > 0, got shapes {lower.shape} and {ties.shape}")
    n = lower.size
    if lower.min() < 0 or ties.min() < 1 or (lower + ties).max() > n:
        raise ValueError(f"nearer must be >= 0, tied >= 1 and their sum <= the gallery's size {n}")
    metrics = recalls(n, lambda k: recall_at(lower, ties, k))
    doubled_ranks = 2 * lower + ties + 1
    metrics[MEDIAN_RANK.key] = float(np.median(doubled_ranks)) / 2
    metrics[MEAN_RANK.key] = int(doubled_ranks.sum()) / (2 * n)
    metrics[MRR.key] = _mean_reciprocal_rank(lower, ties)
    return metrics


def recalls(gallery_size: int, recall: Callable[[int], float]) -> Metrics:
    """Returns recall at each reported k, by key, given a function of k; None where k exceeds the gallery's size."""
    at_k = {score.key: recall(k) if k <= gallery_size else None for k, score in RECALLS.items()}
    return at_k | {RECALL_AT_10_PERCENT.key: recall(-(-gallery_size // 10))}


def recall_at(nearer: NDArray[np.int64], tied: NDArray[np.int64], k: int) -> float:
    """Returns the expected share of queries with the true match in the top k, over a random order of tied items.

    Args:
        nearer: (n,) l of each query.
        tied: (n,) t of each query.
        k: number of top ranks that count, at least 1.

    Returns:
        The mean of clip((k - l) / t, 0, 1).
    """
    # Integer sums per tie size keep the result exact: exactly k / n when all n are tied, without rounding errors.
    hits = np.bincount(tied, weights=np.clip(k - nearer, 0, tied))
    return math.fsum(int(hits[t]) / (int(t) * tied.size) for t in np.flatnonzero(hits))


def chance_metrics(gallery_size: int) -> Metrics:
    """Returns the expected metrics of a random order of the gallery.

    Args:
        gallery_size: number of items in the gallery, at least 1.

    Returns:
        The same keys as `ranking_metrics`.

    Raises:
        ValueError: for a gallery size below 1.
    """
    if gallery_size < 1:
        raise ValueError(f"gallery_size must be >= 1, got {gallery_size}")
    return ranking_metrics(np.zeros(gallery_size, np.int64), np.full(gallery_size, gallery_size, np.int64))


def _mean_reciprocal_rank(nearer: NDArray[np.int64], tied: NDArray[np.int64]) -> float:
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, nearer.size + 1))])
    bounds, counts = np.unique(np.stack([nearer, tied]), axis=1, return_counts=True)
    lower, ties = bounds
    # For a single rank, 1 / rank is more accurate than the difference of harmonic numbers.
    reciprocal = np.where(ties == 1, 1.0 / (lower + 1), (harmonic[lower + ties] - harmonic[lower]) / ties)
    return math.fsum(reciprocal * (counts / nearer.size))


def _as_float64(embeddings: NDArray[Any] | torch.Tensor) -> NDArray[np.float64]:
    if isinstance(embeddings, torch.Tensor):
        embeddings = embeddings.detach().to("cpu", torch.float64).numpy()
    return np.ascontiguousarray(embeddings, dtype=np.float64)


def _count(
    queries: NDArray[np.float64], gallery: NDArray[np.float64], *, both_ways: bool
) -> tuple[RankBounds, RankBounds]:
    """Counts bounds over tiles of the distance matrix; the second bounds stay zero unless `both_ways`."""
    if queries.ndim != 2 or queries.shape != gallery.shape:
        raise ValueError(
            f"embeddings must both be (n, d) with the same n and d, got {queries.shape} and {gallery.shape}"
        )
    if queries.size == 0:
        raise ValueError(f"embeddings must not be empty, got shape {queries.shape}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise ValueError("embeddings must be finite, got NaN or infinity")
    pairs = _Pairs(queries, gallery)
    n = len(queries)
    forward, backward = (RankBounds(np.zeros(n, np.int64), np.zeros(n, np.int64)) for _ in range(2))
    for top in range(0, n, ROWS_PER_TILE):
        rows = slice(top, top + ROWS_PER_TILE)
        for left in range(0, n, COLUMNS_PER_TILE):
            columns = slice(left, left + COLUMNS_PER_TILE)
            distances, tolerance = pairs.tile(rows, columns)
            pairs.count_tile(forward, distances, tolerance, rows, columns)
            if both_ways:
                pairs.count_tile(backward, distances, tolerance, rows, columns, query_axis=1)
    return forward, backward


class _Pairs:
    """The distances between queries and gallery: fast ones from matrix products, and exact ones pair by pair.

    A matrix product rounds differently from pair to pair, so it can break a tie or swap two nearly tied items. It
    decides only the comparisons that its rounding can't affect; the rest are decided by direct subtraction, in which
    equal rows give bit-identical distances.
    """

    def __init__(self, queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> None:
        self._rows = (queries, gallery)
        # Rounding errors grow with the norms, and distances don't depend on the origin: move it to the points' centre.
        centre = (queries.mean(axis=0) + gallery.mean(axis=0)) / 2
        self._centred = (queries - centre, gallery - centre)
        self._norms = tuple(np.einsum("nd,nd->n", rows, rows) for rows in self._centred)
        if not all(np.isfinite(norms).all() for norms in self._norms):
            raise ValueError("embeddings are too large: their squared norms overflow float64")
        self._tolerance = 4 * (queries.shape[1] + 8) * np.finfo(np.float64).eps
        self._ids = tuple(_row_ids(rows) for rows in self._rows)
        everyone = np.arange(len(queries))
        self._true = self._direct(everyone, everyone)

    def tile(self, rows: slice, columns: slice) -> tuple[NDArray[np.float64], float]:
        """Returns squared distances of a block of queries and gallery items, and a bound on their rounding error."""
        squared_queries, squared_gallery = self._norms[0][rows], self._norms[1][columns]
        distances = (-2.0 * self._centred[0][rows]) @ self._centred[1][columns].T
        distances += squared_queries[:, None]
        distances += squared_gallery[None, :]
        tolerance = self._tolerance * (squared_queries.max() + squared_gallery.max()) + np.finfo(np.float64).tiny
        return distances, float(tolerance)

    def count_tile(
        self,
        bounds: RankBounds,
        distances: NDArray[np.float64],
        tolerance: float,
        rows: slice,
        columns: slice,
        query_axis: int = 0,
    ) -> None:
        """Adds a tile to `bounds`; the queries run along `query_axis` of `distances`, the gallery along the other."""
        queries = (rows, columns)[query_axis]
        true = np.expand_dims(self._true[queries], 1 - query_axis)
        surely_nearer = distances < true - tolerance
        bounds.nearer[queries] += np.count_nonzero(surely_nearer, axis=1 - query_axis)
        undecided = (distances <= true + tolerance) ^ surely_nearer
        of_row, of_column = np.nonzero(undecided)
        pair = (of_row + rows.start, of_column + columns.start)
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
