"""The registry's image encoders as a `Weights` enum of the form that torchvision and TorchGeo use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import Weights, WeightsEnum

from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.model_registry import OWN_REGISTRY, ModelEntry, list_models, registry_with
from shards.decoding.imagery import stored_image
from shards.errors import UserError

ENUM_NAME = "EARSHOT_WEIGHTS"


class EvaluationTransform(nn.Module):
    """What an image encoder was evaluated on: the central part of an image, resized and normalised.

    Args:
        image_size: side of the result, in pixels.
        mean, std: of the red, green and blue channels, on values in [0, 1].
    """

    def __init__(self, image_size: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.image_size = image_size
        self.mean = torch.tensor(mean).view(3, 1, 1)
        self.std = torch.tensor(std).view(3, 1, 1)

    def forward(self, image: Image.Image | Tensor) -> Tensor:
        """A PIL image or (3, height, width) uint8 → (3, image_size, image_size) float32.

        Raises:
            TypeError: it is neither.
        """
        if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and len(image) == 3:
            rgb = image.permute(1, 2, 0).numpy()
        elif isinstance(image, Image.Image):
            rgb = np.asarray(image.convert("RGB"))
        else:
            raise TypeError(f"an image must be a PIL image or (3, height, width) uint8, got {type(image).__name__}")
        pixels = torch.from_numpy(evaluation_image(stored_image(rgb), self.image_size))
        return (pixels.float() / 255 - self.mean) / self.std


class EarshotWeights(WeightsEnum):
    """Weights of an image encoder; `url`, `transforms` and `meta` as in torchvision."""

    def get_state_dict(self, *_: Any, **__: Any) -> Mapping[str, Any]:
        """The image encoder's weights under its library's names, downloaded or made as the registry says.

        Raises:
            UserError: they can't be downloaded, or are made by a command that was not run yet.
        """
        return TwoTower.from_pretrained(self.meta["name"]).image_tower.trunk.published_state()


def earshot_weights() -> type[EarshotWeights]:
    """The enum `EARSHOT_WEIGHTS`, one member for each model of the registry, named in capitals."""
    return _enum_with(os.environ.get(OWN_REGISTRY))


@lru_cache(maxsize=8)
def _enum_with(own_registry: str | None) -> type[EarshotWeights]:
    """The enum of the repository's registry and another file, the same one on every call."""
    members = {_member(entry.name): _weights(entry) for entry in registry_with(own_registry).values()}
    enum: type[EarshotWeights] = EarshotWeights(ENUM_NAME, members)
    return enum


def get_weight(name: str) -> EarshotWeights:
    """A member by its model's name, as `demo`, or by its own, as `EARSHOT_WEIGHTS.DEMO`.

    Raises:
        TypeError: it is no str.
        UserError: there is none.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str with the name of a model, such as 'demo', got {name!r}")
    enum, member = earshot_weights(), _member(name.removeprefix(f"{ENUM_NAME}."))
    if member not in enum.__members__:
        raise UserError(f"unknown weights {name!r}; choose one of: {', '.join(list_models())}")
    return enum.__members__[member]


def _member(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name).upper()


def _weights(entry: ModelEntry) -> Weights:
    return Weights(
        url=f"https://huggingface.co/{entry.hub}" if entry.hub is not None else entry.url or "",
        transforms=partial(EvaluationTransform, entry.image_size, entry.image_mean, entry.image_std),
        meta={
            "name": entry.name,
            "model": entry.image_encoder,
            "in_chans": 3,
            "bands": ("R", "G", "B"),
            "size": entry.image_size,
            "dataset": entry.training_set,
            "license": entry.licence,
            "publication": "https://arxiv.org/abs/2108.00688",
            "ssl_method": "audiovisual",
            "made_by": entry.command,
            "_metrics": entry.scores,
        },
    )
