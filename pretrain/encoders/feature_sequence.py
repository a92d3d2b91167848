"""Encoders whose feature map is a sequence of blocks called `features`, as torchvision's mobile networks have it."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from pretrain.encoders.encoder import Encoder


class FeatureSequence(Encoder):
    """A network whose parameters are those of `features`, with a convolution of stride 2 as its stem.

    Args:
        features: the blocks, from stem to last convolution.
        channels: number of input channels; the stem is replaced if it has another number.
    """

    input_weights = ("features.0.0.weight",)

    def __init__(self, features: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.features = features
        first = features[0]
        assert isinstance(first, nn.Sequential)
        stem = first[0]
        assert isinstance(stem, nn.Conv2d)
        if channels != stem.in_channels:
            stem = nn.Conv2d(channels, stem.out_channels, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(stem.weight, mode="fan_out")
            first[0] = stem

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → the output of the last convolution, at 1/32 of the resolution."""
        maps: Tensor = self.features(inputs)
        return maps

    @override
    def layers(self) -> list[list[str]]:
        """The stem, the blocks or stages, and the last convolution."""
        names = [name for name, _ in self.named_parameters()]
        return [[name for name in names if name.startswith(f"features.{i}.")] for i in range(len(self.features))]
