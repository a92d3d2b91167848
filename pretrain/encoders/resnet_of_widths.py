"""ResNets of torchvision's blocks with other widths and depths, and a narrow one that learns fast on few cores."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from typing_extensions import override

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.group_norm import group_norm
from pretrain.encoders.resnet import ResNetEncoder
from pretrain.encoders.timm_form import TimmForm, with_wide_stem

NARROW_CHANNELS = (32, 64, 128, 256)
"""Channels of the four stages of `narrow_resnet10`, half of ResNet-18's; its stem has as many as the first."""


class ResNetOfWidths(ResNetEncoder):
    """A ResNet without a classifier.

    Args:
        block: torchvision's BasicBlock or Bottleneck; bottlenecks output four times their channels.
        depths: blocks of each stage.
        stem_channels: channels of the first convolution.
        stage_channels: channels of the four stages.
        channels: of the input.
        norm: "batch", "sync" (batch norm, which the trainer converts) or "group".
        zero_residuals: whether residual branches start at zero, so that the network starts as a shallow one (Goyal et
            al., arXiv 1706.02677, section 5.1).
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: tuple[int, int, int, int],
        stem_channels: int,
        stage_channels: tuple[int, int, int, int],
        *,
        channels: int,
        norm: str,
        zero_residuals: bool = False,
    ) -> None:
        super().__init__()
        self._block = block
        self._timm_arguments: dict[str, Any] = {
            "in_chans": channels,
            "layers": list(depths),
            "channels": list(stage_channels),
        }
        self._norm = group_norm if norm == "group" else nn.BatchNorm2d
        self.conv1 = nn.Conv2d(channels, stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = [stem_channels, *(width * block.expansion for width in stage_channels)]
        stages = [
            self._stage(inputs[i], stage_channels[i], depths[i], stride=1 if i == 0 else 2)
            for i in range(len(stage_channels))
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = inputs[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_residuals and isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            elif zero_residuals and isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    @override
    def timm_form(self) -> TimmForm | None:
        """timm's ResNet with these depths and widths, and a stem of 64 channels; with batch norm alone."""
        first_outputs = self._timm_arguments["channels"][0] * self._block.expansion
        state = with_wide_stem(self.published_state(), first_outputs) if self._norm is nn.BatchNorm2d else None
        if state is None:
            return None
        architecture = "resnet18" if self._block is BasicBlock else "resnet50"
        return TimmForm(architecture, self._timm_arguments, state, is_exact=False)

    def _stage(self, inputs: int, channels: int, depth: int, *, stride: int) -> nn.Sequential:
        outputs = channels * self._block.expansion
        shortcut = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), self._norm(outputs))
        first = self._block(inputs, channels, stride, shortcut, norm_layer=self._norm)
        others = (self._block(outputs, channels, norm_layer=self._norm) for _ in range(depth - 1))
        return nn.Sequential(first, *others)


def narrow_resnet10(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """One block a stage, half of ResNet-18's widths, residual branches that start at zero: 256 features."""
    return ResNetOfWidths(
        BasicBlock,
        (1, 1, 1, 1),
        NARROW_CHANNELS[0],
        NARROW_CHANNELS,
        channels=channels,
        norm=norm,
        zero_residuals=True,
    )
