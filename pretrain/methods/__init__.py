"""Pre-training methods, by name: how a batch becomes embeddings, and embeddings a loss."""

from __future__ import annotations

from collections.abc import Callable

from pretrain.config import Config
from pretrain.methods.audiovisual import Audiovisual
from pretrain.methods.interface import Method
from shards.manifest import Manifest

METHODS: dict[str, Callable[[Config, Manifest], Method]] = {"audiovisual": Audiovisual.from_config}
