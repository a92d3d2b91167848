"""Pre-training methods, by name: how a batch becomes embeddings, and embeddings a loss."""

from __future__ import annotations

from collections.abc import Callable

from pretrain.methods.audiovisual import Audiovisual
from pretrain.methods.image_contrastive import ImageContrastive
from pretrain.methods.interface import Method
from pretrain.methods.moco import Moco
from pretrain.methods.simclr import Simclr
from pretrain.methods.tile2vec import Tile2vec
from pretrain.settings.pretraining import Config
from shards.manifest import Manifest

METHODS: dict[str, Callable[[Config, Manifest], Method]] = {
    "audiovisual": Audiovisual.from_config,
    "image-contrastive": ImageContrastive.from_config,
    "moco": Moco.from_config,
    "simclr": Simclr.from_config,
    "tile2vec": Tile2vec.from_config,
}
