"""ResNets with the widths that SoundingEarth's authors released, with the parameter names of their files."""

from __future__ import annotations

from functools import partial

from torchvision.models.resnet import BasicBlock, Bottleneck

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.resnet_of_widths import ResNetOfWidths

STEM_CHANNELS = 32
STAGE_CHANNELS = (64, 182, 256, 512)
"""Channels of the four stages; bottlenecks output four times as many."""

_of_released_widths = partial(ResNetOfWidths, stem_channels=STEM_CHANNELS, stage_channels=STAGE_CHANNELS)


def soundingearth_resnet18(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-18 of the released widths: 512 features."""
    return _of_released_widths(BasicBlock, (2, 2, 2, 2), channels=channels, norm=norm)


def soundingearth_resnet50(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-50 of the released widths: 2048 features."""
    return _of_released_widths(Bottleneck, (3, 4, 6, 3), channels=channels, norm=norm)
