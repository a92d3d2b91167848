"""What a retrieval protocol decides: which pairs are ranked, from which crops, and how ranks are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.embedding import CropStarts, PairEmbeddings
from pretrain.ranking import Metrics, RankBounds, chance_metrics, ranking_metrics, recalls


@dataclass(frozen=True)
class Ranking:
    """Ranks of one split, both ways.

    Attributes:
        embeddings: what was ranked, in the order of the ranks.
        bounds: of each direction, where every query's true match stands.
        image_scales: (n,) what the distances of each image are divided by for sound → image; None for nothing.
    """

    embeddings: PairEmbeddings
    bounds: dict[str, RankBounds]
    image_scales: NDArray[np.float64] | None = None


class Protocol(ABC):
    """Which pairs are ranked, what they are embedded from, and how ranks are counted."""

    name: str
    description: str
    recall_meaning: str
    """What recall at k counts; "{k}" stands for k."""
    default_crops: int | None
    """Sound crops averaged unless the user says otherwise; None where the protocol leaves no choice."""

    @abstractmethod
    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:
        """Says which crops of a sound are embedded."""

    def select(self, embeddings: PairEmbeddings) -> PairEmbeddings:
        """Picks and orders the pairs that make up the gallery; all, unless a protocol says otherwise."""
        return embeddings

    @abstractmethod
    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """Ranks the selected pairs both ways."""

    @abstractmethod
    def recall(self, bounds: RankBounds, k: int) -> float:
        """The share of queries that find their match among the first k, as the protocol counts it."""

    @abstractmethod
    def chance_recall(self, gallery_size: int, k: int) -> float:
        """The recall at k of a random order without ties."""

    def metrics(self, bounds: RankBounds) -> Metrics:
        """The figures of one direction, keys as in `pretrain.ranking.ranking_metrics`."""
        figures = ranking_metrics(bounds.nearer, bounds.tied)
        return figures | recalls(len(bounds.nearer), lambda k: self.recall(bounds, k))

    def chance(self, gallery_size: int) -> Metrics:
        """The same figures for a random order of the gallery."""
        return chance_metrics(gallery_size) | recalls(gallery_size, lambda k: self.chance_recall(gallery_size, k))

    @abstractmethod
    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Numbers of the first matches of some queries, (q, min(count, n)), nearest first."""
