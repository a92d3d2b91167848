"""Training batches of stored features instead of images and sounds."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from pretrain.data.batches import BatchLayout, DealtBatches
from pretrain.features.store import FeatureStore
from pretrain.settings.pretraining import Config
from shards.schema import TRAIN_SPLIT
from shards.streaming.reading import ShardSet

FEATURES_OF = {"image": "image_features", "sound": "sound_features"}
"""Names of a batch's features by those of the inputs that they come from."""


class FeatureBatches(DealtBatches):
    """One process's batches: "image_features" (n, f), "sound_features" (n, g), and other entries of the views.

    Which of a pair's views is used in an epoch is drawn for image and sound separately.

    Args:
        store: features of the training split.
        names: the arrays in it.
        shard_set: the pairs, for the order of an epoch and the keys.
        config: the run's settings.
        layout: how a global batch is dealt.
        rank: this process's number.
        first_step: the first step to give, counted from the beginning of the run.
        last_step: the step before which to end.
    """

    def __init__(
        self,
        store: FeatureStore,
        names: list[str],
        shard_set: ShardSet,
        config: Config,
        layout: BatchLayout,
        *,
        rank: int,
        first_step: int,
        last_step: int,
    ) -> None:
        super().__init__(store.num_pairs, layout, rank=rank, first_step=first_step, last_step=last_step)
        self._readers = {name: store.reader(name) for name in names}
        self._shard_set = shard_set
        self._config = config
        self._views: NDArray[np.int64] = np.empty(0, np.int64)
        self._epoch = -1

    @cached_property
    def _keys(self) -> list[str]:
        return [self._shard_set.sample(TRAIN_SPLIT, row).key for row in range(self.num_items)]

    @override
    def order(self, epoch: int) -> NDArray[np.int64]:
        block_samples = self._config.data.block_samples
        return self._shard_set.epoch_order(
            TRAIN_SPLIT, seed=self._config.seed, epoch=epoch, block_samples=block_samples
        )

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int, number: int) -> dict[str, Any]:
        if epoch != self._epoch:
            generator = np.random.default_rng((self._config.seed, epoch))
            num_views = self._config.data.feature_views
            self._views, self._epoch = generator.integers(0, num_views, (self.num_items, len(FEATURES_OF))), epoch
        rows = order[positions.start : positions.stop]
        entries = {}
        for name, reader in self._readers.items():
            if name in FEATURES_OF:
                views = self._views[rows, list(FEATURES_OF).index(name)]
                entries[FEATURES_OF[name]] = torch.from_numpy(reader.read(rows, views))
            else:
                entries[name] = torch.from_numpy(reader.read(rows))
        return {"keys": [self._keys[row] for row in rows], **entries, "num_replaced": 0, "unreadable_shards": {}}
