"""The image encoder of audiovisual scene classification: that of any weights, or EfficientNetV2-S; it stays frozen."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from downstream.tau.kind import TauRunSettings
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from shards.errors import UserError

EFFICIENTNET = "efficientnet-v2-s"


class VisualEncoder(nn.Module):
    """Pixels → the features below an encoder's classifier.

    Args:
        encoder: what the weights brought.
    """

    def __init__(self, encoder: LoadedEncoder) -> None:
        super().__init__()
        # "trunk" is part of the weight names of every network on disk.
        self.trunk = encoder.module
        self.num_features = encoder.num_features
        self.rasters = encoder.rasters
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1))

    @override
    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, height, width) uint8 → (n, num_features)."""
        pixels = ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.trunk(pixels)
        return features


def load_visual_encoder(settings: TauRunSettings) -> LoadedEncoder:
    """The encoder that the settings name.

    Raises:
        UserError: no such weights, or of another architecture.
    """
    backbone = settings.backbone
    if settings.tau.visual == EFFICIENTNET:
        if backbone != "auto":
            raise UserError(f"backbone must be auto with tau.visual {EFFICIENTNET}, got {backbone}")
        backbone = EFFICIENTNET
    return load_encoder(
        settings.weights,
        backbone=backbone,
        imagenet_file=settings.imagenet_file,
        seed=settings.seed,
        image_size=settings.image_size,
    )
