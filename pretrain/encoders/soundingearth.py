"""ResNets with the widths that SoundingEarth's authors released, with the parameter names of their files."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.group_norm import group_norm
from pretrain.encoders.resnet import ResNetEncoder

STEM_CHANNELS = 32
STAGE_CHANNELS = (64, 182, 256, 512)
"""Channels of the four stages; bottlenecks output four times as many."""


class SoundingEarthResNet(ResNetEncoder):
    """A ResNet with a stem of 32 channels and stages of 64, 182, 256 and 512, without a classifier.

    Args:
        block: torchvision's BasicBlock or Bottleneck.
        depths: blocks of each stage.
        channels: of the input.
        norm: "batch", "sync" (batch norm, which the trainer converts) or "group".
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: tuple[int, int, int, int], channels: int, norm: str
    ) -> None:
        super().__init__()
        self._block = block
        self._norm = group_norm if norm == "group" else nn.BatchNorm2d
        self.conv1 = nn.Conv2d(channels, STEM_CHANNELS, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm(STEM_CHANNELS)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = [STEM_CHANNELS, *(channels * block.expansion for channels in STAGE_CHANNELS)]
        stages = [
            self._stage(inputs[i], STAGE_CHANNELS[i], depths[i], stride=1 if i == 0 else 2)
            for i in range(len(STAGE_CHANNELS))
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = inputs[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, inputs: int, channels: int, depth: int, *, stride: int) -> nn.Sequential:
        outputs = channels * self._block.expansion
        shortcut = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), self._norm(outputs))
        first = self._block(inputs, channels, stride, shortcut, norm_layer=self._norm)
        others = (self._block(outputs, channels, norm_layer=self._norm) for _ in range(depth - 1))
        return nn.Sequential(first, *others)


def soundingearth_resnet18(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-18 of the released widths: 512 features."""
    return SoundingEarthResNet(BasicBlock, (2, 2, 2, 2), channels, norm)


def soundingearth_resnet50(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-50 of the released widths: 2048 features."""
    return SoundingEarthResNet(Bottleneck, (3, 4, 6, 3), channels, norm)
