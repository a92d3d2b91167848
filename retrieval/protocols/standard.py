"""The protocol `standard`: all pairs, averaged sound crops, Euclidean distance, ties in expectation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import rank_bounds_both_ways
from pretrain.ranking.scores import DIRECTIONS
from pretrain.training.embedding import CropStarts, PairEmbeddings, spread_crops
from retrieval.index import NearestNeighbours
from retrieval.protocols.expected_recall import ExpectedRecall
from retrieval.protocols.protocol import Protocol, Ranking, sides_of


class Standard(ExpectedRecall, Protocol):
    """All pairs of the split, embeddings averaged over evenly spaced sound crops, Euclidean distance.

    Ties count by expectation over a random order of the tied.
    """

    name = "standard"
    description = (
        "All pairs of the split. Images are cropped to their central three quarters; sounds are embedded from evenly "
        "spaced crops whose embeddings are averaged. Ranks are by Euclidean distance."
    )
    default_crops = 10

    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:  # noqa: ARG002
        """Evenly spaced crops; the seed has no effect."""
        return spread_crops(num_frames, crops)

    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """Ranks by Euclidean distance."""
        bounds = rank_bounds_both_ways(embeddings.image, embeddings.sound)
        return Ranking(embeddings, dict(zip(DIRECTIONS, bounds, strict=True)))

    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Nearest by Euclidean distance."""
        query_side, gallery_side = sides_of(ranking.embeddings, direction)
        return NearestNeighbours(gallery_side).search(query_side[queries], count)[0]
