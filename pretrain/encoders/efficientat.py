"""EfficientAT's MobileNets for sounds, with the parameter names of the released AudioSet weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig, MobileNetV3
from typing_extensions import override

from pretrain.encoders.encoder import Encoder
from pretrain.encoders.feature_sequence import FeatureSequence
from pretrain.encoders.group_norm import group_norm
from pretrain.encoders.published_files import PublishedFile, of_torch
from shards.errors import UserError

BLOCKS = (
    (16, 3, 16, 16, False, "RE", 1),
    (16, 3, 64, 24, False, "RE", 2),
    (24, 3, 72, 24, False, "RE", 1),
    (24, 5, 72, 40, True, "RE", 2),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 3, 240, 80, False, "HS", 2),
    (80, 3, 200, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 480, 112, True, "HS", 1),
    (112, 3, 672, 112, True, "HS", 1),
    (112, 5, 672, 160, True, "HS", 2),
    (160, 5, 960, 160, True, "HS", 1),
    (160, 5, 960, 160, True, "HS", 1),
)
"""MobileNetV3-Large (Howard et al., ICCV 2019, Table 1): input channels, kernel, expanded channels, output channels,
squeeze-and-excitation, activation, stride."""

RELEASES = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"

AUDIOSET_FILES = {
    "mn01": "mn01_as_mAP_298.pt",
    "mn02": "mn02_as_mAP_378.pt",
    "mn04": "mn04_as_mAP_432.pt",
    "mn05": "mn05_as_mAP_443.pt",
    "mn10": "mn10_as_mAP_471.pt",
    "mn20": "mn20_as_mAP_478.pt",
    "mn30": "mn30_as_mAP_482.pt",
    "mn40": "mn40_as_mAP_484.pt",
}
"""The authors' files; a name states the network's mean average precision on AudioSet."""


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation (Hu et al., CVPR 2018) with linear layers and a sigmoid, as EfficientAT has it."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        layers = {"fc1": nn.Linear(channels, squeezed), "fc2": nn.Linear(squeezed, channels)}
        # The released weights allow for attention to frequency and time beside it, hence the list.
        self.conc_se_layers = nn.ModuleList([nn.ModuleDict(layers)])

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) → the same shape, each channel scaled."""
        (layer,) = self.conc_se_layers
        assert isinstance(layer, nn.ModuleDict)
        squeezed = torch.relu(layer["fc1"](inputs.mean((2, 3))))
        return inputs * torch.sigmoid(layer["fc2"](squeezed))[:, :, None, None]


class EfficientAtEncoder(FeatureSequence):
    """A MobileNetV3-Large of another width on log-mel spectrograms (EfficientAT, Schmid et al., arXiv 2211.04772).

    Args:
        width: factor on all widths, 0.4 for mn04; there are 960 · width features.
        channels: of the input.
        norm: "batch", "sync" or "group".
    """

    front_end = "audioset-32k"
    sound_mean = -4.5
    sound_std = 5.0

    def __init__(self, width: float, channels: int, norm: str) -> None:
        normalise = group_norm if norm == "group" else partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        network = MobileNetV3(
            [InvertedResidualConfig(*block, 1, width) for block in BLOCKS],
            last_channel=1,
            block=partial(InvertedResidual, se_layer=ChannelAttention),
            norm_layer=normalise,
        )
        super().__init__(network.features, channels)
        self.num_features = int(network.features[-1][0].out_channels)

    @override
    def fetch_published(self) -> tuple[dict[str, Tensor], str]:
        """AudioSet's weights from the authors' release."""
        file = AUDIOSET_FILES[self.name]
        url, folder = f"{RELEASES}{file}", Path(torch.hub.get_dir()) / "checkpoints"
        try:
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"the AudioSet weights of {self.name} are not in {folder} and can't be downloaded "
                f"({' '.join(str(error).split())[:100]}); get {url} and give the file, as by --model.sound-init {file}"
            ) from error
        return state, url

    @override
    def published_file(self) -> PublishedFile:
        """AudioSet's weights."""
        return of_torch(f"{RELEASES}{AUDIOSET_FILES[self.name]}")


def _encoder(width: float, *, channels: int, input_size: tuple[int, int], norm: str) -> Encoder:
    return EfficientAtEncoder(width, channels, norm)


mn01 = partial(_encoder, 0.1)
mn02 = partial(_encoder, 0.2)
mn04 = partial(_encoder, 0.4)
mn05 = partial(_encoder, 0.5)
mn10 = partial(_encoder, 1.0)
mn20 = partial(_encoder, 2.0)
mn30 = partial(_encoder, 3.0)
mn40 = partial(_encoder, 4.0)
