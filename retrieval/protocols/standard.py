"""The protocol `standard`: every pair, averaged sound crops, Euclidean distance, ties shared fairly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pretrain.embedding import CropStarts, PairEmbeddings, spread_crops
from pretrain.ranking import RankBounds, rank_bounds_both_ways, recall_at
from pretrain.ranking_scores import DIRECTIONS
from retrieval.index import NearestNeighbours
from retrieval.protocols.protocol import Protocol, Ranking


class Standard(Protocol):
    """Every pair of the split, evenly spaced sound crops averaged, Euclidean distance, ties shared fairly."""

    name = "standard"
    description = (
        "All pairs of the split. The image by its central three quarters, the sound by evenly spaced crops whose "
        "embeddings are averaged. Euclidean distance; items equally near share their places."
    )
    recall_meaning = "true match among the first {k}"
    default_crops = 10

    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:  # noqa: ARG002
        """Evenly spaced; the seed has no effect."""
        return spread_crops(num_frames, crops)

    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """By Euclidean distance."""
        bounds = rank_bounds_both_ways(embeddings.image, embeddings.sound)
        return Ranking(embeddings, dict(zip(DIRECTIONS, bounds, strict=True)))

    def recall(self, bounds: RankBounds, k: int) -> float:
        """The expectation of rank <= k over a random order of the tied."""
        return recall_at(bounds.nearer, bounds.tied, k)

    def chance_recall(self, gallery_size: int, k: int) -> float:
        """k of n."""
        return k / gallery_size

    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """By Euclidean distance."""
        sides = (ranking.embeddings.image, ranking.embeddings.sound)
        query_side, gallery_side = sides if direction == "image_to_sound" else sides[::-1]
        return NearestNeighbours(gallery_side).search(query_side[queries], count)[0]
