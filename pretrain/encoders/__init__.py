"""Networks that turn an image or a spectrogram into one feature vector, by name."""

from __future__ import annotations

from shards.registry import Registry

EFFICIENTAT = ("mn01", "mn02", "mn04", "mn05", "mn10", "mn20", "mn30", "mn40")
"""EfficientAT's MobileNets by width, in tenths."""

ENCODERS: Registry = Registry(
    "model.image_encoder",
    {
        "resnet18": "pretrain.encoders.resnet:resnet18",
        "resnet50": "pretrain.encoders.resnet:resnet50",
        "resnet101": "pretrain.encoders.resnet:resnet101",
        "soundingearth-resnet18": "pretrain.encoders.soundingearth:soundingearth_resnet18",
        "soundingearth-resnet50": "pretrain.encoders.soundingearth:soundingearth_resnet50",
        "tile2vec-resnet18": "pretrain.encoders.tile2vec:tile2vec_resnet18",
        "narrow-resnet10": "pretrain.encoders.resnet_of_widths:narrow_resnet10",
        "efficientnet-v2-s": "pretrain.encoders.efficientnet:efficientnet_v2_s",
        **{name: f"pretrain.encoders.efficientat:{name}" for name in EFFICIENTAT},
    },
    families={
        "timm": "pretrain.encoders.timm_network:build",
        "transformers": "pretrain.encoders.transformers_network:build",
    },
    takes_outside_code=True,
)
"""Each is a function of `channels`, `input_size` and `norm` that returns an `Encoder`; `build_encoder` calls it."""

CONFIGURED_FAMILIES = frozenset({"transformers"})
"""Families whose networks are described by a config of their own; a model folder holds it, so that it is complete."""
