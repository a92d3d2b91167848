"""A classifier on an encoder: normalised pixels → features or embedding → class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.encoders.projection import embedding_dim_of
from pretrain.weights.encoder_weights import LoadedEncoder


class SceneClassifier(nn.Module):
    """An encoder, optionally its embedding layer, and a linear layer.

    Args:
        encoder: the loaded encoder.
        num_classes: number of classes of the benchmark.
        on_embedding: whether the head is on the embedding, as in the authors' code (normalised if the weights were
            trained so), or on the pooled features.
    """

    def __init__(self, encoder: LoadedEncoder, num_classes: int, *, on_embedding: bool) -> None:
        super().__init__()
        # "trunk" is part of the weight names of every classifier on disk.
        self.trunk = encoder.module
        self.projection: nn.Module = nn.Identity()
        width = encoder.num_features
        self.on_sphere = False
        if on_embedding and encoder.projection is not None:
            self.projection, width = encoder.projection, embedding_dim_of(encoder.projection)
            self.on_sphere = encoder.on_sphere
        self.head = nn.Linear(width, num_classes)
        self.rasters = encoder.rasters
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1), persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """(n, 3, height, width) uint8 → normalised float32 input of the encoder."""
        return ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """(n, 3, height, width) uint8 → (n, features), the input of the classifier."""
        features = self.projection(self.trunk(self.normalised(images)))
        return F.normalize(features.float(), dim=1) if self.on_sphere else features

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Computes "logits" (n, classes) from a batch's "image", (n, 3, height, width) uint8."""
        return {"logits": self.head(self.features(batch["image"]))}
