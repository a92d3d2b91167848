"""The interface of a retrieval protocol: which pairs are ranked, from which crops, and how ranks are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import Metrics, RankBounds, chance_metrics, ranking_metrics, recalls
from pretrain.training.embedding import CropStarts, PairEmbeddings


@dataclass(frozen=True)
class Ranking:
    """Ranks of one split in both directions.

    Attributes:
        embeddings: the ranked embeddings, in the order of the ranks.
        bounds: per direction, the rank bounds of each query's true match.
        image_scales: (n,) divisors of each image's distances for sound → image; None if distances are not scaled.
    """

    embeddings: PairEmbeddings
    bounds: dict[str, RankBounds]
    image_scales: NDArray[np.float64] | None = None


class Protocol(ABC):
    """Defines which pairs are ranked, from which crops they are embedded, and how ranks are counted."""

    name: str
    description: str
    recall_meaning: str
    """What recall at k counts, as a phrase with the placeholder "{k}"."""
    default_crops: int | None
    """Default number of averaged sound crops; None if the protocol fixes it."""

    @abstractmethod
    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:
        """Returns a function that selects the crops of a sound to embed."""

    def select(self, embeddings: PairEmbeddings) -> PairEmbeddings:
        """Selects and sorts the pairs of the gallery; by default all."""
        return embeddings

    @abstractmethod
    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """Ranks the selected pairs in both directions."""

    @abstractmethod
    def recall(self, bounds: RankBounds, k: int) -> float:
        """Recall at k, as the protocol counts it."""

    @abstractmethod
    def chance_recall(self, gallery_size: int, k: int) -> float:
        """Recall at k of a random order without ties."""

    def metrics(self, bounds: RankBounds) -> Metrics:
        """The scores of one direction, with keys as in `pretrain.ranking.ranking_metrics`."""
        figures = ranking_metrics(bounds.nearer, bounds.tied)
        return figures | recalls(len(bounds.nearer), lambda k: self.recall(bounds, k))

    def chance(self, gallery_size: int) -> Metrics:
        """The scores of a random order of the gallery."""
        return chance_metrics(gallery_size) | recalls(gallery_size, lambda k: self.chance_recall(gallery_size, k))

    @abstractmethod
    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Indices of the top matches of some queries, (q, min(count, n)), nearest first."""
