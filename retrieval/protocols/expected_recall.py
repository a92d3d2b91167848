"""Recall in the usual sense, rank <= k, expected over a random order of tied items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import RankBounds, hits_at, recall_at


class ExpectedRecall:
    """How a protocol counts recall at k; to be inherited before the protocol that ranks."""

    recall_meaning = "true match among the first {k}"

    def hits(self, bounds: RankBounds, k: float) -> NDArray[np.float64]:
        """The probability of rank <= k of each query."""
        return hits_at(bounds.nearer, bounds.tied, k)

    def recall(self, bounds: RankBounds, k: float) -> float:
        """The mean of `hits`, exact under ties."""
        return recall_at(bounds.nearer, bounds.tied, k)

    def chance_recall(self, gallery_size: int, k: float) -> float:
        """k / n."""
        return k / gallery_size
