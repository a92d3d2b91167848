"""Entry points of torch.hub: `torch.hub.load(REPOSITORY, "image_tower", weights="FOLDER or OWNER/NAME")`."""

from __future__ import annotations

from pathlib import Path as _Path

import torch
from torch import nn as _nn

from pretrain.model import TwoTower as _TwoTower

# torch.hub offers every callable here whose name does not start with an underscore.
dependencies = ["torch", "torchvision", "numpy", "safetensors", "huggingface_hub", "typing_extensions"]


class _OneTower(_nn.Module):
    """One tower alone, including the preparation of its input and the scaling of its embeddings."""

    def __init__(self, towers: _TwoTower, modality: str) -> None:
        super().__init__()
        self.towers = towers
        self.modality = modality
        setattr(towers, "sound_tower" if modality == "image" else "image_tower", _nn.Identity())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As `TwoTower.encode_image` or `.encode_sound`."""
        return self.towers.encode_image(inputs) if self.modality == "image" else self.towers.encode_sound(inputs)


def two_towers(weights: str | _Path) -> _nn.Module:
    """Both towers of a run folder, a release or a model on the hub, with `.encode_image` and `.encode_sound`."""
    return _TwoTower.from_pretrained(weights)


def image_tower(weights: str | _Path) -> _nn.Module:
    """The image tower: (n, 3, s, s) uint8 pixels, or values normalised as `config.json` says → (n, d) embeddings."""
    return _OneTower(_TwoTower.from_pretrained(weights), "image").eval()


def sound_tower(weights: str | _Path) -> _nn.Module:
    """The sound tower: (n, 1, mel bands, frames) uint8 spectrograms, or standardised values → (n, d) embeddings."""
    return _OneTower(_TwoTower.from_pretrained(weights), "sound").eval()
