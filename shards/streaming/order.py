"""The order of an epoch's samples: a pure function of seed, epoch and shard sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def epoch_order(samples_per_shard: Sequence[int], *, seed: int, epoch: int, block_samples: int = 8192) -> np.ndarray:
    """The order in which one epoch visits the samples of a split, each once.

    Samples are numbered consecutively through the split's shards. The shards are permuted and grouped into blocks of
    whole shards, and the samples are permuted within each block, so that a reader needs one block's shards at a time.
    The order does not depend on ranks, workers or batch size; resuming means starting at a later position.

    Args:
        samples_per_shard: number of samples in each shard, in the order of the shards.
        seed: the run's seed.
        epoch: the epoch, from 0; each has its own order.
        block_samples: shards are added to a block until it holds at least this many samples.

    Returns:
        (n,) int64, a permutation of 0 … n − 1 with n = sum(samples_per_shard).

    Raises:
        ValueError: block_samples < 1.
    """
    if block_samples < 1:
        raise ValueError(f"block_samples must be >= 1, got {block_samples}")
    generator = np.random.default_rng([seed, epoch])
    counts = np.asarray(samples_per_shard, dtype=np.int64)
    first_of_shard = np.concatenate([[0], np.cumsum(counts)])
    order: list[np.ndarray] = []
    block: list[np.ndarray] = []
    block_size = 0
    for shard in generator.permutation(len(counts)):
        block.append(np.arange(first_of_shard[shard], first_of_shard[shard + 1]))
        block_size += int(counts[shard])
        if block_size >= block_samples:
            order.append(generator.permutation(np.concatenate(block)))
            block, block_size = [], 0
    if block:
        order.append(generator.permutation(np.concatenate(block)))
    return np.concatenate(order) if order else np.empty(0, dtype=np.int64)
