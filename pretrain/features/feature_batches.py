"""Training batches of stored features instead of images and sounds."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from pretrain.data.batches import BatchLayout, Part, ShardBatches
from pretrain.features.inputs import MODALITIES
from pretrain.features.store import FeatureStore
from pretrain.settings.pretraining import Config
from shards.schema import TRAIN_SPLIT
from shards.streaming.reading import ShardSet

FEATURES_OF = {name: f"{name}_features" for name in MODALITIES}
"""Names of a batch's features by those of the inputs that they come from."""


class FeatureBatches(ShardBatches):
    """One process's batches: "image_features" (n, f), "sound_features" (n, g), and other entries of the views.

    Which of a pair's views is used in an epoch is drawn for image and sound separately.

    Args:
        store: features of the training split.
        names: the arrays in it.
        shard_set, config, layout, rank, first_step, last_step: see `ShardBatches`.
    """

    def __init__(
        self,
        store: FeatureStore,
        names: list[str],
        shard_set: ShardSet,
        config: Config,
        layout: BatchLayout,
        **part: Unpack[Part],
    ) -> None:
        super().__init__(shard_set, config, layout, **part)
        self._readers = {name: store.reader(name) for name in names}
        self._views: NDArray[np.int64] = np.empty(0, np.int64)
        self._epoch = -1

    @cached_property
    def _keys(self) -> list[str]:
        return [self.shard_set.sample(TRAIN_SPLIT, row).key for row in range(self.num_items)]

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        if epoch != self._epoch:
            generator = np.random.default_rng((self.config.seed, epoch))
            num_views = self.config.data.feature_views
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
