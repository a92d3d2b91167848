"""Ranks of true matches across modalities, with recall, median rank and MRR: pure maths, exact under ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.ranking.bounds import RankBounds, count_bounds
from pretrain.ranking.scores import MEAN_RANK, MEDIAN_RANK, MRR, RECALL_AT_10_PERCENT, RECALLS

Embeddings = TypeVar("Embeddings", NDArray[Any], torch.Tensor)
T = TypeVar("T")
Metrics = dict[str, float | None]
"""The metrics of one direction; None where k exceeds the gallery's size."""


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
    bounds, _ = count_bounds(_as_float64(query_embeddings), _as_float64(gallery_embeddings), both_ways=False)
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
    return count_bounds(_as_float64(image_embeddings), _as_float64(sound_embeddings), both_ways=True)


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


def ranking_metrics(
    nearer: NDArray[Any] | torch.Tensor, tied: NDArray[Any] | torch.Tensor, gallery_size: int | None = None
) -> Metrics:
    """Turns rank bounds into recalls, ranks and MRR.

    Median and mean rank use the average rank of tied items. Recalls and MRR are the expectation over a random order of
    tied items: with l strictly nearer and t tied, recall@k is clip((k − l) / t, 0, 1) and the reciprocal rank is
    (H(l + t) − H(l)) / t, H being the harmonic numbers. Embeddings collapsed to one point score exactly chance.

    Args:
        nearer: (q,) l of each of the q queries.
        tied: (q,) t of each query, at least 1.
        gallery_size: n, the number of items that are ranked; by default that of the queries.

    Returns:
        `recall_at_1`, `_5`, `_10`, `_100` and `recall_at_10_percent` (k = ceil(n / 10)) as fractions in [0, 1],
        `median_rank`, `mean_rank` (from 1), `mrr` in (0, 1]. None where k exceeds the gallery's size.

    Raises:
        ValueError: for no queries, shapes that differ, or bounds that are impossible in a gallery of n.
    """
    lower, ties = np.asarray(nearer, dtype=np.int64), np.asarray(tied, dtype=np.int64)
    if lower.ndim != 1 or lower.shape != ties.shape or lower.size == 0:
        raise ValueError(f"nearer and tied must be (n,) with n > 0, got shapes {lower.shape} and {ties.shape}")
    n = lower.size if gallery_size is None else gallery_size
    if lower.min() < 0 or ties.min() < 1 or (lower + ties).max() > n:
        raise ValueError(f"nearer must be >= 0, tied >= 1 and their sum <= the gallery's size {n}")
    metrics = recalls(n, lambda k: recall_at(lower, ties, k))
    doubled_ranks = 2 * lower + ties + 1
    metrics[MEDIAN_RANK.key] = float(np.median(doubled_ranks)) / 2
    metrics[MEAN_RANK.key] = int(doubled_ranks.sum()) / (2 * lower.size)
    metrics[MRR.key] = _mean_reciprocal_rank(lower, ties)
    return metrics


def recalls(gallery_size: int, recall: Callable[[int], T]) -> dict[str, T | None]:
    """Returns recall at each reported k, by key, given a function of k; None where k exceeds the gallery's size."""
    at_k: dict[str, T | None] = {score.key: recall(k) if k <= gallery_size else None for k, score in RECALLS.items()}
    return at_k | {RECALL_AT_10_PERCENT.key: recall(-(-gallery_size // 10))}


def recall_at(nearer: NDArray[np.int64], tied: NDArray[np.int64], k: float) -> float:
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


def hits_at(nearer: NDArray[np.int64], tied: NDArray[np.int64], k: float) -> NDArray[np.float64]:
    """Returns the probability of the top k of each query, (q,), whose mean is `recall_at`."""
    return np.asarray(np.clip((k - nearer) / tied, 0.0, 1.0))


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


def reciprocal_ranks(nearer: NDArray[np.int64], tied: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the expected reciprocal rank of each query over a random order of tied items.

    Args:
        nearer: (q,) l of each query.
        tied: (q,) t of each query, at least 1.

    Returns:
        (q,) of (H(l + t) − H(l)) / t, H being the harmonic numbers.
    """
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, (nearer + tied).max() + 1))])
    # For a single rank, 1 / rank is more accurate than the difference of harmonic numbers.
    return np.where(tied == 1, 1.0 / (nearer + 1), (harmonic[nearer + tied] - harmonic[nearer]) / tied)


def _mean_reciprocal_rank(nearer: NDArray[np.int64], tied: NDArray[np.int64]) -> float:
    bounds, counts = np.unique(np.stack([nearer, tied]), axis=1, return_counts=True)
    return math.fsum(reciprocal_ranks(*bounds) * (counts / nearer.size))


def _as_float64(embeddings: NDArray[Any] | torch.Tensor) -> NDArray[np.float64]:
    if isinstance(embeddings, torch.Tensor):
        embeddings = embeddings.detach().to("cpu", torch.float64).numpy()
    return np.ascontiguousarray(embeddings, dtype=np.float64)
