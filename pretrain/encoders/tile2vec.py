"""The ResNet-18 variant whose weights Tile2Vec's authors published, learned from NAIP imagery (Jean et al., AAAI 2019).

It has a 3 × 3 stem without stride or pooling and five stages of 64, 128, 256, 512 and 512 channels, so that its last
map is at a sixteenth of the resolution. The published file has a fourth, near-infrared input channel, which is left
out, as by SoundingEarth's authors; and a third convolution in each block and a classifier, which nobody uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from pretrain.encoders.encoder import Encoder, names_under
from pretrain.encoders.group_norm import group_norm

WIDTHS = (64, 128, 256, 512, 512)
STRIDES = (1, 2, 2, 2, 2)
STEM_WIDTH = 64
BLOCKS = 2
UNUSED = re.compile(r"layer\d\.\d\.(conv3|bn3)\.\w+")


class Tile2VecBlock(nn.Module):
    """A basic residual block, whose shortcut is called `shortcut`.

    Args:
        inputs, outputs: channels.
        stride: of the first convolution.
        norm: "batch", "sync" or "group".
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        normalise = group_norm if norm == "group" else nn.BatchNorm2d
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = normalise(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = normalise(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), normalise(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, inputs, h, w) → (n, outputs, h / stride, w / stride)."""
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs)))))
        return F.relu(found + self.shortcut(inputs))


class Tile2VecEncoder(Encoder):
    """Parameter names are those of the published file.

    Args:
        channels: of the input.
        norm: "batch", "sync" or "group".
    """

    input_weights = ("conv1.weight",)
    num_features = WIDTHS[-1]

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STEM_WIDTH, 3, padding=1, bias=False)
        self.bn1 = (group_norm if norm == "group" else nn.BatchNorm2d)(STEM_WIDTH)
        self.relu = nn.ReLU()
        width = STEM_WIDTH
        for number, (outputs, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True), 1):
            blocks = [Tile2VecBlock(width, outputs, stride, norm)]
            blocks += [Tile2VecBlock(outputs, outputs, 1, norm) for _ in range(BLOCKS - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            width = outputs

    @override
    def feature_map(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → the output of the last stage, at 1/16 of the resolution."""
        for stage in self.stages():
            for name in stage:
                inputs = self.get_submodule(name)(inputs)
        return inputs

    @override
    def layers(self) -> list[list[str]]:
        """The stem and the five stages."""
        return [names_under(self, stage) for stage in self.stages()]

    @override
    def stages(self) -> list[list[str]]:
        """The stem, and the five stages of blocks."""
        return [["conv1", "bn1", "relu"], *([f"layer{number}"] for number in range(1, len(WIDTHS) + 1))]

    @override
    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Leaves out the near-infrared channel and the convolutions that nobody uses."""
        used = {name: value for name, value in state.items() if not UNUSED.fullmatch(name)}
        stem = used.get("conv1.weight")
        if stem is not None and stem.ndim == 4 and stem.shape[1] == 4:
            used["conv1.weight"] = stem[:, :3].clone(memory_format=torch.contiguous_format)
        return super().adapted(used)


def tile2vec_resnet18(*, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    """Tile2Vec's ResNet-18: 512 features."""
    return Tile2VecEncoder(channels, norm)
