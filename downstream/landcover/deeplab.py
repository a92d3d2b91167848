"""DeepLabv3+ on an encoder: normalised pixels → class scores of every pixel (Chen et al., ECCV 2018)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pretrain.weights.encoder_weights import LoadedEncoder

OUTPUT_STRIDE = 16
DECODER_CHANNELS = 256
ATROUS_RATES = (12, 24, 36)


class DilatedEncoder(nn.Module):
    """An encoder's layers as the encoder of segmentation-models-pytorch's decoders: all weights are the encoder's.

    The last stage has its stride replaced by dilation, so that features are at a sixteenth of the image's sides. Names
    of weights are those of segmentation-models-pytorch's own ResNet encoders.

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
        last = (module for name in self.stages[-1] for module in self.get_submodule(name).modules())
        for convolution in last:
            if isinstance(convolution, nn.Conv2d):
                convolution.stride = (1, 1)
                convolution.dilation = (2, 2)
                convolution.padding = (convolution.kernel_size[0] // 2 * 2, convolution.kernel_size[1] // 2 * 2)
        self.out_channels = self._widths()

    def forward(self, images: Tensor) -> list[Tensor]:
        """(n, 3, height, width) → the images and the outputs of the stem and of the four stages."""
        features, current = [images], images
        for stage in self.stages:
            for name in stage:
                current = self.get_submodule(name)(current)
            features.append(current)
        return features

    def _widths(self) -> list[int]:
        """Channels of each feature map, seen on a small image: widths differ between ResNets."""
        was_training = self.training
        with torch.no_grad():
            widths = [feature.shape[1] for feature in self.eval()(torch.zeros(1, 3, 64, 64))]
        self.train(was_training)
        return widths


class DeepLab(nn.Module):
    """The encoder, segmentation-models-pytorch's DeepLabv3+ decoder, and a head of one score a class and pixel.

    Its weights load into `segmentation_models_pytorch.DeepLabV3Plus(backbone, classes=…)` and give the same scores.

    Args:
        encoder: what the weights brought, on the CPU.
        num_classes: of the benchmark.

    Raises:
        UserError: the encoder is not a sequence of stages.
    """

    def __init__(self, encoder: LoadedEncoder, num_classes: int) -> None:
        super().__init__()
        # Imported here, since it takes a second that other benchmarks do not need.
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        self.num_classes = num_classes
        self.encoder = DilatedEncoder(encoder)
        self.decoder = DeepLabV3PlusDecoder(
            encoder_channels=self.encoder.out_channels,
            encoder_depth=5,
            out_channels=DECODER_CHANNELS,
            atrous_rates=ATROUS_RATES,
            output_stride=OUTPUT_STRIDE,
            aspp_separable=True,
            aspp_dropout=0.5,
        )
        self.segmentation_head = SegmentationHead(DECODER_CHANNELS, num_classes, kernel_size=1, upsampling=4)
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
        features = self.encoder(images.contiguous(memory_format=torch.channels_last))
        return {"logits": self.segmentation_head(self.decoder(features))}
