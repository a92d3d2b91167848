"""torchvision's published weights, from torch's cache or downloaded into it."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from pretrain.encoders.published_files import PublishedFile, of_torch
from shards.errors import UserError


def torchvision_file(name: str) -> PublishedFile:
    """The file with the ImageNet weights of a torchvision network."""
    published = torchvision.models.get_model_weights(name).DEFAULT
    return of_torch(published.url, round(published.meta["_file_size"] * 2**20))


def fetch_torchvision(name: str) -> tuple[dict[str, Tensor], str]:
    """Returns the ImageNet weights of a torchvision network and the file that holds them.

    Raises:
        UserError: they can't be downloaded.
    """
    published = torchvision.models.get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(published.url)
    if not file.is_file():
        try:
            published.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"torchvision's ImageNet weights of {name} are not in {file.parent} and can't be downloaded "
                f"({' '.join(str(error).split())[:100]}); put {file.name} there, or give it as imagenet_file"
            ) from error
    return torch.load(file, map_location="cpu", weights_only=True), str(file)
