"""torchvision's ResNets without their classifier, for any number of input channels; keys stay torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torchvision
from torch import nn
from torchvision.models import ResNet

GROUPS = 32


class Encoder(Protocol):
    """Builds a trunk: a module from (n, channels, height, width) to (n, features), and its number of features."""

    def __call__(self, *, in_channels: int, norm: str) -> tuple[nn.Module, int]:
        """The trunk for inputs of `in_channels` channels with "batch", "sync" or "group" norm."""
        ...


def resnet18(*, in_channels: int, norm: str) -> tuple[nn.Module, int]:
    """ResNet-18: 512 features."""
    return _trunk(torchvision.models.resnet18, in_channels, norm)


def resnet50(*, in_channels: int, norm: str) -> tuple[nn.Module, int]:
    """ResNet-50: 2048 features."""
    return _trunk(torchvision.models.resnet50, in_channels, norm)


def resnet101(*, in_channels: int, norm: str) -> tuple[nn.Module, int]:
    """ResNet-101: 2048 features."""
    return _trunk(torchvision.models.resnet101, in_channels, norm)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(GROUPS, channels)


def _trunk(build: Callable[..., ResNet], in_channels: int, norm: str) -> tuple[nn.Module, int]:
    # "sync" is batch norm here; the trainer converts it once the processes are known.
    trunk = build(weights=None, norm_layer=_group_norm if norm == "group" else nn.BatchNorm2d)
    num_features = trunk.fc.in_features
    trunk.fc = nn.Identity()
    if in_channels != trunk.conv1.in_channels:
        trunk.conv1 = nn.Conv2d(in_channels, trunk.conv1.out_channels, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
    return trunk, num_features
