"""MoCo: views of an image against a queue of past keys from a momentum encoder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain import distributed
from pretrain.data.batches import BatchLayout
from pretrain.data.views import Views
from pretrain.losses.hashed_numbers import hashed_numbers
from pretrain.losses.momentum_contrast import MomentumContrastLoss
from pretrain.methods.heads import build_rest_of_head, build_views, head_dim_of
from pretrain.methods.image_only import ImageOnly
from pretrain.methods.settings import MocoConfig, MocoSettings
from pretrain.model import TwoTower
from pretrain.settings.pretraining import Config
from pretrain.training.task import WholeWeights
from pretrain.weights.towers import build_towers
from shards.errors import UserError
from shards.manifest import Manifest
from shards.schema import TRAIN_SPLIT

MOST_USUAL_KEYS = 65_536
"""Size of MoCo's queue (He et al., section 4.1)."""


class Moco(ImageOnly):
    """Momentum contrast, by default version 2 (He et al., CVPR 2020; Chen et al., arXiv 2003.04297).

    The trained encoder embeds one view as the query, the momentum encoder the other as its key; negatives are keys of
    past batches (`pretrain.losses.momentum_contrast`). MoCo therefore needs neither a large batch nor gradient caching,
    which works but computes every key twice.

    The head begins with the tower's linear layer, which is released in `model/`; the rest is not
    (`pretrain.methods.heads`). MoCo v1 has that layer alone.

    Args:
        towers: the two towers, whose embeddings are not on the sphere.
        views: "image" and "other_image".
        settings: temperature, momentum, queue, groups and head.
    """

    # The queue is equal on all processes; DistributedDataParallel would broadcast it in each forward pass.
    _ddp_params_and_buffers_to_ignore = ("contrast.queue",)

    def __init__(self, towers: TwoTower, views: Views, settings: MocoSettings) -> None:
        super().__init__(towers, views)
        self.settings = settings
        dim = towers.config.embedding_dim
        self.rest_of_head = build_rest_of_head(settings, dim)
        self.momentum_towers = copy.deepcopy(towers).requires_grad_(False)
        del self.momentum_towers.sound_tower
        self.momentum_rest_of_head = copy.deepcopy(self.rest_of_head).requires_grad_(False)
        self.contrast = MomentumContrastLoss(settings.queue_size, head_dim_of(settings, dim), settings.temperature)
        self.draws: Tensor
        # A buffer is saved with the weights, so that a resumed run continues the sequence of shuffles.
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    @classmethod
    def from_config(cls, config: MocoConfig, manifest: Manifest) -> Moco:
        """Builds the method from its settings.

        Raises:
            UserError: the queue is larger than the training split, or a group of keys holds a single image.
        """
        num_images = manifest.num_samples(TRAIN_SPLIT)
        usual = max(1, min(num_images // 2, MOST_USUAL_KEYS))
        queue_size = config.moco.queue_size or usual
        if queue_size > num_images:
            raise UserError(
                f"moco.queue_size must be at most the {num_images} pairs of the training split, or each image would "
                f"have its own past keys as negatives, got {queue_size}; 0 takes {usual}"
            )
        least = _least_images_at_once(config)
        if least < 2 * config.moco.key_groups:
            raise UserError(
                f"moco.key_groups must be at most half of the {least} images that a process embeds at once, since "
                f"batch statistics need 2, got {config.moco.key_groups}; choose fewer, or another batch_size or "
                "optimizer.chunk_size"
            )
        settings = replace(config.moco, queue_size=queue_size)
        return cls(build_towers(config, manifest, on_sphere=False), build_views(config, settings), settings)

    @override
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Queries of "image" and keys of "other_image", (n, 3, s, s) uint8 → (n, d) of length 1, keys detached."""
        queries = F.normalize(self.rest_of_head(self.towers.encode_image(batch["image"])).float(), dim=1)
        return {"query": queries, "key": self._keys(batch["other_image"])}

    @torch.no_grad()
    def _keys(self, images: Tensor) -> Tensor:
        """Keys of this process's images, computed in groups whose batch statistics differ from those of the queries.

        Shuffling batch norm (He et al., section 3.3): if query and key shared their batch statistics, the network could
        find the key by them. Each process's part is also divided into groups, so that one process suffices; with group
        norm, or one process and one group, it has no effect.
        """
        every_image = distributed.gather_with_gradient(images)
        order = random_order(len(every_image), self.draws)
        self.draws += 1  # in place, because gradient caching resets it between its passes
        groups = every_image[distributed.own_rows(order)].tensor_split(self.settings.key_groups)
        keys = torch.cat([self.momentum_rest_of_head(self.momentum_towers.encode_image(group)) for group in groups])
        shuffled = distributed.gather_with_gradient(F.normalize(keys.float(), dim=1))
        return distributed.own_rows(shuffled[order.argsort()])

    @override
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The loss of the global batch, whose keys enter the queue: call it once per accumulation step."""
        loss: Tensor = self.contrast(embeddings["query"], embeddings["key"])
        return loss

    @override
    def after_step(self, whole_weights: WholeWeights) -> None:
        """Updates the momentum encoder's weights (He et al., Eq. 2); running statistics of batch norm are its own."""
        with whole_weights(), torch.no_grad():
            following = (*self.momentum_towers.parameters(), *self.momentum_rest_of_head.parameters())
            trained = (*self.towers.image_tower.parameters(), *self.rest_of_head.parameters())
            for weight, target in zip(following, trained, strict=True):
                weight.lerp_(target, 1 - self.settings.momentum)


def _least_images_at_once(config: Config) -> int:
    """Number of images in the smallest chunk of a process's part of a batch."""
    settings = config.optimizer
    part = BatchLayout(config.batch_size, distributed.num_processes(), settings.accumulation).per_process
    chunk = settings.chunk_size if 0 < settings.chunk_size < part else part
    return part % chunk or chunk


def random_order(n: int, draw: Tensor) -> Tensor:
    """Draws a random permutation of n items, as a function of n and the draw counter.

    Equal on every process and device, without state and without synchronising with a device.

    Args:
        n: at least 1.
        draw: scalar int64, the draw counter.

    Returns:
        (n,) int64, a permutation of [0, n).
    """
    return hashed_numbers(n, draw).argsort(stable=True)
