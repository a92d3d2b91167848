"""torchvision's ResNets without their classifier, for any number of input channels, with torchvision's parameter
names."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from typing_extensions import override

from pretrain.encoders.encoder import Encoder, names_under
from pretrain.encoders.group_norm import group_norm
from pretrain.encoders.published_files import PublishedFile
from pretrain.encoders.timm_form import TimmForm
from pretrain.encoders.torchvision_weights import fetch_torchvision, torchvision_file

STAGES = (("conv1", "bn1", "relu"), ("maxpool", "layer1"), ("layer2",), ("layer3",), ("layer4",))


class ResNetEncoder(Encoder):
    """A network of torchvision's ResNet layers of any width: `conv1` to `layer4`, and `avgpool`."""

    input_weights = ("conv1.weight",)

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → the output of the last stage, at 1/32 of the resolution."""
        for stage in STAGES:
            for name in stage:
                inputs = self.get_submodule(name)(inputs)
        return inputs

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, num_features)."""
        return torch.flatten(self.get_submodule("avgpool")(self.feature_map(inputs)), 1)

    @override
    def layers(self) -> list[list[str]]:
        """The stem and the four stages."""
        return [names_under(self, stage) for stage in self.stages()]

    @override
    def stages(self) -> list[list[str]]:
        """The stem, and the four stages of blocks."""
        return [list(stage) for stage in STAGES]


class TorchvisionResNet(ResNetEncoder):
    """Builds torchvision's ResNet of a given name.

    Args:
        architecture: such as "resnet18".
        channels: of the input.
        norm: "batch", "sync" or "group".
    """

    library = "torchvision"

    def __init__(self, architecture: str, channels: int, norm: str) -> None:
        super().__init__()
        self.architecture = architecture
        self._timm_arguments = {"in_chans": channels, **({"norm_layer": "groupnorm"} if norm == "group" else {})}
        norm_layer = group_norm if norm == "group" else nn.BatchNorm2d
        network = torchvision.models.get_model(architecture, weights=None, norm_layer=norm_layer)
        self.num_features = network.fc.in_features
        if channels != network.conv1.in_channels:
            network.conv1 = nn.Conv2d(channels, network.conv1.out_channels, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        for name, child in network.named_children():
            if name != "fc":
                self.add_module(name, child)

    @override
    def timm_form(self) -> TimmForm:
        """timm has these networks under the same names."""
        return TimmForm(self.architecture, self._timm_arguments, self.published_state())

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """ImageNet's weights."""
        return fetch_torchvision(self.architecture)

    @override
    def published_file(self) -> PublishedFile:
        """ImageNet's weights."""
        return torchvision_file(self.architecture)


def resnet18(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-18: 512 features."""
    return TorchvisionResNet("resnet18", channels, norm)


def resnet50(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-50: 2048 features."""
    return TorchvisionResNet("resnet50", channels, norm)


def resnet101(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """ResNet-101: 2048 features."""
    return TorchvisionResNet("resnet101", channels, norm)
