"""An encoder as a network of timm's registry: the name, arguments and weights that `timm.create_model` takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STEM_CHANNELS = 64
"""Channels of the stem of timm's ResNets, which no argument changes."""

NORM_EPSILON = 1e-5
"""Of batch norms, in torch and in timm's ResNets."""


@dataclass(frozen=True)
class TimmForm:
    """What builds the same function in timm.

    Attributes:
        architecture: name in timm's registry, without a weights tag.
        arguments: further keywords of `timm.create_model`, plain values.
        state: the weights by timm's names, without a classifier.
        is_exact: whether features are the same bits; otherwise they differ by rounding.
        first_conv: timm's name of the first convolution, by which it adapts other numbers of channels.
        classifier: timm's name of the classifier, by which it adapts other numbers of classes.
    """

    architecture: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]
    is_exact: bool = True
    first_conv: Any = "conv1"
    classifier: Any = "fc"


def with_wide_stem(state: dict[str, Tensor], first_outputs: int) -> dict[str, Tensor] | None:
    """Widens the stem of a ResNet to `STEM_CHANNELS` with channels that are always zero.

    Where the narrow network's first block adds its input unchanged and timm's, whose stem is wider than that block's
    output, does not, a projection is added that picks the channels of the narrow stem.

    Args:
        state: weights under torchvision's names, with batch norms.
        first_outputs: channels that the first block returns.

    Returns:
        The weights under the same names; None if timm's first block has no projection where the network has one.
    """
    narrow = state["conv1.weight"].shape[0]
    if narrow == STEM_CHANNELS:
        return state
    has_projection = "layer1.0.downsample.0.weight" in state
    if narrow > STEM_CHANNELS or (has_projection and first_outputs == STEM_CHANNELS):
        return None
    added = STEM_CHANNELS - narrow
    wide = dict(state)
    wide["conv1.weight"] = _padded(state["conv1.weight"], 0, added)
    for name, value in (("weight", 0.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
        wide[f"bn1.{name}"] = _padded(state[f"bn1.{name}"], 0, added, value)
    wide["layer1.0.conv1.weight"] = _padded(state["layer1.0.conv1.weight"], 1, added)
    if has_projection:
        wide["layer1.0.downsample.0.weight"] = _padded(state["layer1.0.downsample.0.weight"], 1, added)
        return wide
    wide["layer1.0.downsample.0.weight"] = torch.eye(narrow, STEM_CHANNELS)[:, :, None, None].clone()
    wide["layer1.0.downsample.1.weight"] = torch.full((narrow,), math.sqrt(1 + NORM_EPSILON))
    wide["layer1.0.downsample.1.bias"] = torch.zeros(narrow)
    wide["layer1.0.downsample.1.running_mean"] = torch.zeros(narrow)
    wide["layer1.0.downsample.1.running_var"] = torch.ones(narrow)
    wide["layer1.0.downsample.1.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return wide


def _padded(values: Tensor, dim: int, added: int, value: float = 0.0) -> Tensor:
    shape = list(values.shape)
    shape[dim] = added
    return torch.cat([values, values.new_full(shape, value)], dim)
