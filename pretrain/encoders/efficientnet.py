"""torchvision's EfficientNetV2-S without its classifier, for any number of input channels, with torchvision's parameter
names."""

from __future__ import annotations

import torchvision
from torch import Tensor
from typing_extensions import override

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.feature_sequence import FeatureSequence
from pretrain.encoders.group_norm import replace_batch_norms
from pretrain.encoders.published_files import PublishedFile
from pretrain.encoders.torchvision_weights import fetch_torchvision, torchvision_file

ARCHITECTURE = "efficientnet_v2_s"


class EfficientNetEncoder(FeatureSequence):
    """EfficientNetV2-S (Tan and Le, ICML 2021): 1280 features.

    Args:
        channels: of the input.
        norm: "batch", "sync" or "group".
    """

    def __init__(self, channels: int, norm: str) -> None:
        network = torchvision.models.get_model(ARCHITECTURE, weights=None)
        if norm == "group":
            replace_batch_norms(network)
        super().__init__(network.features, channels)
        self.num_features = int(network.classifier[1].in_features)
        self.avgpool = network.avgpool

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, num_features)."""
        features: Tensor = self.avgpool(self.feature_map(inputs)).flatten(1)
        return features

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """ImageNet's weights."""
        return fetch_torchvision(ARCHITECTURE)

    @override
    def published_file(self) -> PublishedFile:
        """ImageNet's weights."""
        return torchvision_file(ARCHITECTURE)


def efficientnet_v2_s(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """EfficientNetV2-S: 1280 features."""
    return EfficientNetEncoder(channels, norm)
