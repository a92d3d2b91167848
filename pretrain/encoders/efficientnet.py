"""torchvision's EfficientNetV2-S without its classifier, for any number of input channels, with torchvision's parameter
names."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn
from typing_extensions import override

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.group_norm import group_norm
from pretrain.encoders.torchvision_weights import fetch_torchvision

ARCHITECTURE = "efficientnet_v2_s"


class EfficientNetEncoder(Encoder):
    """EfficientNetV2-S (Tan and Le, ICML 2021): 1280 features.

    Args:
        channels: of the input.
        norm: "batch", "sync" or "group".
    """

    input_weights = ("features.0.0.weight",)

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        options = {"norm_layer": group_norm} if norm == "group" else {}
        network = torchvision.models.get_model(ARCHITECTURE, weights=None, **options)
        self.num_features = int(network.classifier[1].in_features)
        self.features = network.features
        self.avgpool = network.avgpool
        stem = self.features[0][0]
        if channels != stem.in_channels:
            self.features[0][0] = nn.Conv2d(channels, stem.out_channels, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(self.features[0][0].weight, mode="fan_out")

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → the output of the last convolution, at 1/32 of the resolution."""
        maps: Tensor = self.features(inputs)
        return maps

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, num_features)."""
        features: Tensor = self.avgpool(self.feature_map(inputs)).flatten(1)
        return features

    @override
    def layers(self) -> list[list[str]]:
        """The stem, the six stages and the last convolution."""
        names = [name for name, _ in self.named_parameters()]
        return [[name for name in names if name.startswith(f"features.{i}.")] for i in range(len(self.features))]

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """ImageNet's weights."""
        return fetch_torchvision(ARCHITECTURE)


def efficientnet_v2_s(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """EfficientNetV2-S: 1280 features."""
    return EfficientNetEncoder(channels, norm)
