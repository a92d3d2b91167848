"""Compares what a model's config states with the shapes in its weights file, before anything of that size is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from pretrain.encoders import ENCODERS
from pretrain.model_config import TwoTowerConfig
from pretrain.model_files import CONFIG_NAME
from shards.errors import UserError
from shards.records import shortened


def refuse_other_sizes(weights: Path, config: TwoTowerConfig, build: Callable[[], nn.Module]) -> None:
    """Refuses a config by which the network would have other tensors than the weights file.

    The network is built without memory for its tensors (torch's meta device).

    Args:
        weights: a safetensors file, of which only the header is read.
        config: of the network.
        build: builds the network.

    Raises:
        UserError: names the first tensor that differs.
    """
    with safe_open(weights, "pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    for encoder in (config.image_encoder_config, config.sound_encoder_config):
        num_layers = sum(_stated_layers(encoder or {}))
        if num_layers > len(stored):
            raise UserError(
                f"{weights.parent / CONFIG_NAME} states {num_layers} layers, but {weights.name} holds {len(stored)} "
                "tensors; copy the model folder again"
            )
    for name in (config.image_encoder, config.sound_encoder):
        ENCODERS.load(name)  # a module that is first imported on the meta device keeps its constants there
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in build().state_dict().items()}
    for name in sorted(wanted.keys() | stored.keys()):
        if wanted.get(name) != stored.get(name):
            raise UserError(
                f"the model in {weights.parent} can't be loaded: {shortened(name)} {_has(stored.get(name))} in "
                f"{weights.name}, by {CONFIG_NAME} it {_has(wanted.get(name))}; copy the model folder again"
            )


def _stated_layers(settings: Any, name: str = "") -> Iterator[int]:
    """Numbers of layers in an encoder's settings: those that a library would build one by one."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _stated_layers(value, str(key))
    elif isinstance(settings, list):
        for value in settings:
            yield from _stated_layers(value, name)
    elif isinstance(settings, int) and any(word in name for word in ("layers", "depth")):
        yield int(settings)


def _has(shape: tuple[int, ...] | None) -> str:
    return "is missing" if shape is None else f"has the shape {shape}"
