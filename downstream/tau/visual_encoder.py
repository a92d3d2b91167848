"""What sees in audiovisual scene classification: an encoder of any weights, or EfficientNetV2-S; it stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from typing_extensions import override

from downstream.tau.kind import TauRunSettings
from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from pretrain.weights.files import read_weights
from shards.errors import UserError

EFFICIENTNET = "efficientnet-v2-s"
TORCHVISION_NAME = "efficientnet_v2_s"
LAST_BLOCK = "features.7.0.weight"
"""Every EfficientNetV2-S has it; what stands before it in a name is the prefix of a wrapper."""


class VisualEncoder(nn.Module):
    """Pixels → the features below an encoder's classifier.

    Args:
        encoder: what the weights brought.
    """

    def __init__(self, encoder: LoadedEncoder) -> None:
        super().__init__()
        self.trunk = encoder.module
        self.num_features = encoder.num_features
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1))

    @override
    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, height, width) uint8 → (n, num_features)."""
        pixels = ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.trunk(pixels)
        return features


def load_visual_encoder(settings: TauRunSettings) -> LoadedEncoder:
    """The encoder that the settings name.

    Raises:
        UserError: no such weights, or of another architecture.
    """
    if settings.tau.visual == EFFICIENTNET:
        return _efficientnet(settings)
    return load_encoder(
        settings.weights, backbone=settings.backbone, imagenet_file=settings.imagenet_file, seed=settings.seed
    )


def _efficientnet(settings: TauRunSettings) -> LoadedEncoder:
    if settings.backbone != "auto":
        raise UserError(f"backbone must be auto with tau.visual {EFFICIENTNET}, got {settings.backbone}")
    # Beside the caller's random state, so that weights depend on their seed alone, on every process.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = torchvision.models.get_model(TORCHVISION_NAME, weights=None)
    num_features = int(module.classifier[1].in_features)
    module.classifier = nn.Identity()
    report = f"random EfficientNetV2-S, seed {settings.seed}"
    if settings.weights != "random":
        path = _imagenet_file(settings.imagenet_file) if settings.weights == "imagenet" else Path(settings.weights)
        _load(module, path)
        report = f"EfficientNetV2-S from {path}"
    return LoadedEncoder(
        module,
        num_features,
        EFFICIENTNET,
        settings.weights,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        report=report,
    )


def _imagenet_file(given: Path | None) -> Path:
    """Torchvision's file of ImageNet weights: the one given, the one in torch's cache, or fetched into it."""
    if given is not None:
        return given
    published = torchvision.models.get_model_weights(TORCHVISION_NAME).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(published.url)
    if not file.is_file():
        try:
            published.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"torchvision's ImageNet weights of EfficientNetV2-S are not in {file.parent} and can't be fetched "
                f"({' '.join(str(error).split())[:100]}); put {file.name} there, or give it by --imagenet-file"
            ) from error
    return file


def _load(module: nn.Module, path: Path) -> None:
    """Gives an EfficientNetV2-S the weights of a file with torchvision's names, whatever stands before them."""
    whole = read_weights(path)
    prefix = next((name.removesuffix(LAST_BLOCK) for name in whole if name.endswith(LAST_BLOCK)), "")
    state = {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}
    own = module.state_dict()
    lacking = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    other = [name for name in own if name in state and state[name].shape != own[name].shape]
    if lacking or other:
        why = f"it lacks {lacking[0]}" if lacking else f"{other[0]} has the shape {tuple(state[other[0]].shape)}"
        raise UserError(
            f"{path} holds no EfficientNetV2-S with torchvision's names: {why}; give such a file, or tau.visual trunk "
            "for a ResNet"
        )
    module.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)
