"""Ranking by cosine similarity, with ranks counted as GeoCLAP and PSM count them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import RankBounds, rank_bounds_both_ways
from pretrain.ranking.scores import DIRECTIONS
from pretrain.training.embedding import CropStarts, PairEmbeddings, spread_crops
from retrieval.index import NearestNeighbours
from retrieval.protocols.ordering import Ordering
from retrieval.protocols.protocol import Protocol, Ranking


class CosineProtocol(Protocol):
    """All pairs of the split by cosine similarity; recall@k counts average ranks of tied items strictly below k.

    Sounds are embedded as in protocol `standard`, because the published encoders and their inputs are others.
    """

    recall_meaning = "rank of the true match below {k}"
    default_crops = 10
    needs_split_file = True

    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:  # noqa: ARG002
        """Evenly spaced crops; the seed has no effect."""
        return spread_crops(num_frames, crops)

    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """Ranks by cosine similarity."""
        bounds = rank_bounds_both_ways(*_lifted(embeddings))
        return Ranking(embeddings, dict(zip(DIRECTIONS, bounds, strict=True)))

    def hits(self, bounds: RankBounds, k: float) -> NDArray[np.float64]:
        """1 where the average rank is strictly below k."""
        return (bounds.ranks < k).astype(np.float64)

    def chance_recall(self, gallery_size: int, k: float) -> float:
        """The share of ranks strictly below k."""
        return (math.ceil(k) - 1) / gallery_size

    def ordering(self, ranking: Ranking, direction: str) -> Ordering:
        """Euclidean distances on the unit sphere, which grow as cosines fall."""
        return Ordering(*_sides(ranking, direction))

    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Nearest by cosine similarity."""
        query_side, gallery_side = _sides(ranking, direction)
        return NearestNeighbours(gallery_side).search(query_side[queries], count)[0]


def _sides(ranking: Ranking, direction: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    image, sound = _lifted(ranking.embeddings)
    return (image, sound) if direction == "image_to_sound" else (sound, image)


def _lifted(embeddings: PairEmbeddings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images and sounds on the unit sphere of d + 2 dimensions, whose distances order items as cosines do.

    An embedding of zeros has cosine 0 with all others. It goes to one of two additional dimensions, one for each
    modality, where it is as far from all others as orthogonal vectors are.
    """
    return _unit(embeddings.image, 0), _unit(embeddings.sound, 1)


def _unit(embeddings: NDArray[np.float32], dimension_of_zeros: int) -> NDArray[np.float64]:
    vectors = np.pad(embeddings.astype(np.float64), ((0, 0), (0, 2)))
    norms = np.linalg.norm(vectors, axis=1)
    vectors[norms == 0, embeddings.shape[1] + dimension_of_zeros] = norms[norms == 0] = 1.0
    return np.asarray(vectors / norms[:, None])
