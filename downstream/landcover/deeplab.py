"""DeepLabv3+ on an encoder: normalised pixels → class scores of every pixel (Chen et al., ECCV 2018).

The decoder is that of SoundingEarth's authors: plain atrous convolutions at rates 6, 12 and 18 on features at a
sixteenth of the resolution, 48 channels of features at a quarter, and two 3 × 3 convolutions with dropout.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.weights.encoder_weights import LoadedEncoder
from shards.errors import UserError

OUTPUT_STRIDE = 16
LOW_LEVEL_STRIDE = 4
CHANNELS = 256
LOW_LEVEL_CHANNELS = 48
ATROUS_RATES = (6, 12, 18)
PATCH_SIZE = 512
"""Side of the authors' patches, on whose 32 × 32 map all taps of all rates lie."""

PROBE_SIDE = 64


def atrous_rates(patch_size: int) -> tuple[int, ...]:
    """The rates of the three atrous convolutions for training patches of a size.

    A tap that lies `rate` pixels from its centre sees the map only if the map's side is larger; otherwise it gets no
    gradient and keeps its random weights. So where 18 does not fit, all rates shrink as the map does against the map
    of 512 pixels: 2, 3 and 4 for 128 pixels.

    Args:
        patch_size: in pixels, >= 32.
    """
    side = patch_size // OUTPUT_STRIDE
    if max(ATROUS_RATES) < side:
        return ATROUS_RATES
    return tuple(max(1, round(rate * side * OUTPUT_STRIDE / PATCH_SIZE)) for rate in ATROUS_RATES)


class DilatedEncoder(nn.Module):
    """An encoder's stages, of which those at a quarter and at a sixteenth of the resolution are returned.

    A last stage at a thirty-second has the stride of its first block replaced by a dilation of 2, as the authors did
    with ResNets; its later blocks stay as they are. Names of weights are the encoder's own.

    Args:
        encoder: whose module is a sequence of stages, such as a ResNet of any width and norm; it is copied.

    Raises:
        UserError: its module is not such a sequence.
    """

    def __init__(self, encoder: LoadedEncoder) -> None:
        super().__init__()
        self.stages = encoder.module.stages()
        for stage in self.stages:
            for name in stage:
                self.add_module(name, copy.deepcopy(encoder.module.get_submodule(name)))
        if self._strides()[-1] == 2 * OUTPUT_STRIDE:
            self._dilate(self.stages[-1])
        strides = self._strides()
        if LOW_LEVEL_STRIDE not in strides or strides[-1] != OUTPUT_STRIDE:
            raise UserError(
                f"{encoder.backbone} has feature maps at 1/{', 1/'.join(map(str, strides))} of the resolution, "
                f"DeepLabv3+ needs 1/{LOW_LEVEL_STRIDE} and at last 1/{OUTPUT_STRIDE}; choose a ResNet, such as "
                "resnet18"
            )
        self.low_level_stage = len(strides) - 1 - strides[::-1].index(LOW_LEVEL_STRIDE)
        low_level, features = self._probe()[self.low_level_stage], self._probe()[-1]
        self.low_level_channels, self.num_channels = low_level.shape[1], features.shape[1]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, height, width) → features at 1/4 of the resolution, and the last ones, at 1/16."""
        maps = self._maps(images)
        return maps[self.low_level_stage], maps[-1]

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps, current = [], images
        for stage in self.stages:
            for name in stage:
                current = self.get_submodule(name)(current)
            maps.append(current)
        return maps

    def _probe(self) -> list[Tensor]:
        """The maps of a small image: widths and strides differ between networks."""
        was_training = self.training
        with torch.no_grad():
            maps = self.eval()._maps(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE))
        self.train(was_training)
        return maps

    def _strides(self) -> list[int]:
        return [PROBE_SIDE // found.shape[-1] for found in self._probe()]

    def _dilate(self, stage: list[str]) -> None:
        for module in (module for name in stage for module in self.get_submodule(name).modules()):
            if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
                module.stride = (1, 1)
                module.dilation = (2, 2)
                module.padding = (module.kernel_size[0] // 2 * 2, module.kernel_size[1] // 2 * 2)


class AtrousPyramid(nn.Module):
    """A 1 × 1 convolution, three atrous ones and the mean over the map, joined by another 1 × 1 convolution.

    Args:
        num_channels: of the features.
        rates: of the atrous convolutions.
    """

    def __init__(self, num_channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        pointwise = _convolution(num_channels, CHANNELS, 1)
        atrous = [_convolution(num_channels, CHANNELS, 3, rate) for rate in rates]
        self.branches = nn.ModuleList([pointwise, *atrous])
        self.pooled = _convolution(num_channels, CHANNELS, 1)
        self.joined = _convolution((len(self.branches) + 1) * CHANNELS, CHANNELS, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, 256, h, w)."""
        pooled = self.pooled(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[2:])
        found = [branch(features) for branch in self.branches]
        joined: Tensor = self.dropout(self.joined(torch.cat([*found, pooled], dim=1)))
        return joined


class Decoder(nn.Module):
    """The pyramid's output beside reduced features at 1/4 of the resolution → class scores there.

    Args:
        low_level_channels: of those features.
        num_classes: of the benchmark.
    """

    def __init__(self, low_level_channels: int, num_classes: int) -> None:
        super().__init__()
        self.low_level = _convolution(low_level_channels, LOW_LEVEL_CHANNELS, 1)
        self.fused = nn.Sequential(
            _convolution(CHANNELS + LOW_LEVEL_CHANNELS, CHANNELS, 3),
            nn.Dropout(0.5),
            _convolution(CHANNELS, CHANNELS, 3),
            nn.Dropout(0.1),
        )
        self.classifier = nn.Conv2d(CHANNELS, num_classes, 1)
        nn.init.kaiming_normal_(self.classifier.weight)

    def forward(self, features: Tensor, low_level: Tensor) -> Tensor:
        """(n, 256, h, w) and (n, channels, 4h, 4w) → (n, classes, 4h, 4w)."""
        larger = F.interpolate(features, size=low_level.shape[2:], mode="bilinear", align_corners=True)
        scores: Tensor = self.classifier(self.fused(torch.cat([larger, self.low_level(low_level)], dim=1)))
        return scores


class DeepLab(nn.Module):
    """The encoder, the atrous pyramid and the decoder, whose scores are enlarged to the image's size.

    Args:
        encoder: what the weights brought, on the CPU.
        num_classes: of the benchmark.
        patch_size: side of the training patches in pixels, which decides the atrous rates.

    Raises:
        UserError: the encoder is not a sequence of stages.
    """

    def __init__(self, encoder: LoadedEncoder, num_classes: int, patch_size: int = PATCH_SIZE) -> None:
        super().__init__()
        self.rates = atrous_rates(patch_size)
        self.encoder = DilatedEncoder(encoder)
        self.pyramid = AtrousPyramid(self.encoder.num_channels, self.rates)
        self.decoder = Decoder(self.encoder.low_level_channels, num_classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores of a batch's "image" → "logits".

        Args:
            batch: "image", (n, 3, height, width) uint8, its sides multiples of 16.

        Returns:
            "logits", (n, classes, height, width).
        """
        images = (batch["image"].float() / 255 - self.mean) / self.std
        low_level, features = self.encoder(images.contiguous(memory_format=torch.channels_last))
        scores = self.decoder(self.pyramid(features), low_level)
        return {"logits": F.interpolate(scores, size=images.shape[2:], mode="bilinear", align_corners=False)}


def _convolution(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    """Convolution, batch norm and ReLU that keep the size; He et al.'s normal initialisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 * rate, dilation=rate, bias=False)
    nn.init.kaiming_normal_(convolution.weight)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
