"""Training batches in a random order for each epoch, which depends on nothing but the run's seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from pretrain.data.batches import BatchLayout, DealtBatches, Part


class ShuffledBatches(DealtBatches):
    """The training batches of a benchmark.

    As in pre-training, the order is a permutation of the items by seed and epoch, and what is random in an item depends
    on (seed, epoch, key). So batches are the same for any number of processes and workers, and a resumed run continues
    them exactly.

    Args:
        num_items: number of training items.
        layout: how a global batch is divided.
        seed: seed of the run.
        part: the process's rank, the first step to yield, and the step before which to stop.
    """

    def __init__(self, num_items: int, layout: BatchLayout, *, seed: int, **part: Unpack[Part]) -> None:
        super().__init__(num_items, layout, **part)
        self.seed = seed

    @override
    def order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, epoch]).permutation(self.num_items)
