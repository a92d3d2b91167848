"""Pre-training methods, by name; a new one is a file here, its settings, and a line in `METHODS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.registry import Registry

if TYPE_CHECKING:
    from pretrain.settings.pretraining import Config

METHODS: Registry[type[Config]] = Registry(
    "method",
    {
        "audiovisual": "pretrain.methods.settings:AudiovisualConfig",
        "image-contrastive": "pretrain.methods.settings:ImageContrastiveConfig",
        "moco": "pretrain.methods.settings:MocoConfig",
        "simclr": "pretrain.methods.settings:SimclrConfig",
        "tile2vec": "pretrain.methods.settings:Tile2vecConfig",
    },
    takes_outside_code=True,
    subclass_of="pretrain.settings.pretraining:Config",
)
"""Each is the dataclass of the settings of a run of that method, a `Config`, which builds the method."""
