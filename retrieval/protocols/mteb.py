"""The protocol `mteb`: 2,048 places, 1,000 queries each way, nDCG@10, as the package `mteb` evaluates SoundingEarth."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import Metrics, RankBounds
from pretrain.ranking.intervals import Figure
from pretrain.ranking.scores import NDCG_AT_10
from pretrain.training.embedding import PairEmbeddings
from retrieval.protocols.published import Published
from retrieval.protocols.standard import Standard
from shards.building.splitting import hash_share

NUM_PLACES = 2048
NUM_QUERIES = 1000
SEED = 42
_GAINS = np.concatenate([[0.0], np.cumsum([1 / math.log2(rank + 1) for rank in range(1, 11)])])
"""Sum of the discounted gains of the first 0 to 10 ranks (Järvelin and Kekäläinen, 2002)."""


class Mteb(Standard):
    """2,048 pairs drawn from the split, of which 1,000 are queries each way; Euclidean distance, nDCG@10.

    The tasks SoundingEarthA2IRetrieval and SoundingEarthI2ARetrieval of the package have places of their own; from
    which part of the corpus is not stated. A released model runs on them by the verb `mteb`.
    """

    name = "mteb"
    description = (
        "As the tasks on SoundingEarth of the package mteb: 2,048 pairs, drawn by a hash of their keys, and the first "
        "1,000 of these as queries each way; nDCG@10 with one relevant item, which of tied ranks is the expectation "
        "over their random order. The package's own places are others; from which part of the corpus is not stated."
    )
    published: Published | None = Published(
        "mteb, SoundingEarthA2IRetrieval and SoundingEarthI2ARetrieval", {"test": NUM_PLACES}
    )

    def select(self, embeddings: PairEmbeddings) -> PairEmbeddings:
        """The first 2,048 pairs by a hash of their keys, or all if there are fewer."""
        order = sorted(range(len(embeddings.keys)), key=lambda i: hash_share(f"{SEED}:{embeddings.keys[i]}"))
        chosen = order[:NUM_PLACES]
        return PairEmbeddings([embeddings.keys[i] for i in chosen], embeddings.image[chosen], embeddings.sound[chosen])

    def num_queries(self, gallery_size: int) -> int:
        """The first 1,000."""
        return min(NUM_QUERIES, gallery_size)

    def metrics(self, bounds: RankBounds) -> Metrics:
        """The scores of the queries, with nDCG@10."""
        return super().metrics(bounds) | {NDCG_AT_10.key: float(np.mean(self._gains(bounds)))}

    def figures(self, bounds: RankBounds) -> dict[str, Figure]:
        """What each query adds to the scores, with nDCG@10."""
        return super().figures(bounds) | {NDCG_AT_10.key: Figure(self._gains(bounds))}

    def _gains(self, bounds: RankBounds) -> NDArray[np.float64]:
        counted = self.counted(bounds)
        return ndcg_at_10(counted.nearer, counted.tied)

    def chance(self, gallery_size: int) -> Metrics:
        """The scores of a random order of the gallery; nDCG@10 is 0.0022 for 2,048 places."""
        return super().chance(gallery_size) | {NDCG_AT_10.key: float(_GAINS[min(10, gallery_size)]) / gallery_size}


def ndcg_at_10(nearer: NDArray[np.int64], tied: NDArray[np.int64]) -> NDArray[np.float64]:
    """nDCG@10 of queries with one relevant item: 1 / log2(rank + 1) up to rank 10, expected over tied ranks; (q,).

    Args:
        nearer: (q,) number of items strictly nearer than the relevant one.
        tied: (q,) number of items exactly as near, itself included.
    """
    gains = _GAINS[np.minimum(nearer + tied, 10)] - _GAINS[np.minimum(nearer, 10)]
    return np.asarray(gains / tied)
