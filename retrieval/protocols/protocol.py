"""The interface of a retrieval protocol: which pairs are ranked, from which crops, and how ranks are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import Metrics, RankBounds, chance_metrics, ranking_metrics, recalls, reciprocal_ranks
from pretrain.ranking.intervals import Figure
from pretrain.ranking.scores import LARGE_RECALLS, MEAN_RANK, MEDIAN_RANK, MRR, RECALL_AT_10_PERCENT
from pretrain.training.embedding import CropStarts, PairEmbeddings
from retrieval.place_distances import expected_nearest_km
from retrieval.protocols.corpus_rows import CorpusRow
from retrieval.protocols.ordering import Ordering
from retrieval.protocols.published import Published
from shards.errors import UserError

T = TypeVar("T")


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
    published: Published | None = None
    """What was published of it."""
    needs_split_file: bool = False
    """Whether its pairs must be split by a file of keys, as `split` writes it."""

    def split(self, rows: Sequence[CorpusRow]) -> list[str | None]:  # noqa: ARG002
        """The split of each row of a corpus's table; None if the protocol leaves it out.

        Raises:
            UserError: the protocol has no split of its own, or the rows lack what it splits by.
        """
        raise UserError(f"protocol {self.name} has no split of its own; build with --split-by")

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
    def hits(self, bounds: RankBounds, k: float) -> NDArray[np.float64]:
        """What each query adds to recall at k, as the protocol counts it: (q,) within [0, 1]."""

    def recall(self, bounds: RankBounds, k: float) -> float:
        """Recall at k: the mean of `hits`."""
        return float(np.mean(self.hits(bounds, k)))

    @abstractmethod
    def chance_recall(self, gallery_size: int, k: float) -> float:
        """Recall at k of a random order without ties."""

    def metrics(self, bounds: RankBounds) -> Metrics:
        """The scores of one direction, with keys as in `pretrain.ranking.ranking_metrics`.

        Recall at 500 and 1,000 are left out where k exceeds the gallery.
        """
        n, counted = len(bounds.nearer), self.counted(bounds)
        figures = ranking_metrics(counted.nearer, counted.tied, n)
        return figures | self._recalls(n, lambda k: self.recall(counted, k))

    def figures(self, bounds: RankBounds) -> dict[str, Figure]:
        """What each query adds to the scores of one direction, by their keys in `metrics`."""
        n, counted = len(bounds.nearer), self.counted(bounds)
        hits = self._recalls(n, lambda k: self.hits(counted, k))
        return {
            **{key: Figure(values) for key, values in hits.items() if values is not None},
            MEDIAN_RANK.key: Figure(counted.ranks, "median"),
            MEAN_RANK.key: Figure(counted.ranks, "mean"),
            MRR.key: Figure(reciprocal_ranks(counted.nearer, counted.tied)),
        }

    def counted(self, bounds: RankBounds) -> RankBounds:
        """The bounds of the pairs that are queries."""
        queries = slice(self.num_queries(len(bounds.nearer)))
        return RankBounds(bounds.nearer[queries], bounds.tied[queries])

    def chance(self, gallery_size: int) -> Metrics:
        """The scores of a random order of the gallery."""
        return chance_metrics(gallery_size) | self._recalls(gallery_size, lambda k: self.chance_recall(gallery_size, k))

    def num_queries(self, gallery_size: int) -> int:
        """How many pairs of the gallery are queries, the first ones; by default all."""
        return gallery_size

    def ten_percent(self, gallery_size: int) -> float:
        """The k of recall at 10 %; by default a tenth of the gallery, rounded up."""
        return -(-gallery_size // 10)

    def _recalls(self, gallery_size: int, recall: Callable[[float], T]) -> dict[str, T | None]:
        large = {score.key: recall(k) for k, score in LARGE_RECALLS.items() if k <= gallery_size}
        return {
            **recalls(gallery_size, recall),
            RECALL_AT_10_PERCENT.key: recall(self.ten_percent(gallery_size)),
            **large,
        }

    def ordering(self, ranking: Ranking, direction: str) -> Ordering:
        """By what a direction orders the gallery; by default Euclidean distance."""
        return Ordering(*sides_of(ranking.embeddings, direction))

    def nearest_km(self, distances: NDArray[np.float64], km: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """Kilometres from the place of each query to the nearest of its top k.

        Args:
            distances: (q, n), from the ordering's `distances`.
            km: (q, n), great-circle distances from the query's place to those of the gallery.
            k: at most n.

        Returns:
            (q,): of tied items at the end of the top k, the expectation over their random order.
        """
        return expected_nearest_km(distances, km, k)

    @abstractmethod
    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Indices of the top matches of some queries, (q, min(count, n)), nearest first."""


def sides_of(embeddings: PairEmbeddings, direction: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The embeddings of queries and of the gallery."""
    sides = (embeddings.image, embeddings.sound)
    return sides if direction == "image_to_sound" else sides[::-1]
