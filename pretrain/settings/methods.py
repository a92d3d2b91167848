"""Settings that belong to single pre-training methods: their types, meanings, defaults and rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict

from pretrain.settings.files import require
from pretrain.settings.training import STRICT


@dataclass(frozen=True)
class StrongViewSettings:
    """The strong augmentation of simclr and moco (SimCLR, Chen et al., ICML 2020; MoCo v2, arXiv 2003.04297)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    crop_area_min: float = 0.2
    """Smallest area of the random crop, as a fraction of the stored image's; its sides are up to 4:3."""
    jitter_probability: float = 0.8
    """Share of the views whose colours are changed."""
    brightness: float = 0.4
    """Brightness is multiplied by up to 1 plus this, or down to 1 minus this; contrast and saturation alike."""
    contrast: float = 0.4
    """As brightness."""
    saturation: float = 0.4
    """As brightness."""
    hue_degrees: float = 36.0
    """Hue is shifted by up to this angle either way, of 360."""
    grey_probability: float = 0.2
    """Share of the views that lose their colours."""
    blur_probability: float = 0.5
    """Share of the views that are blurred, with a standard deviation of 0.1 to 2 pixels at 224 pixels a side."""


@dataclass(frozen=True)
class SimclrSettings:
    """Method simclr."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    temperature: float = 0.1
    """Divides the cosine similarities of NT-Xent."""


@dataclass(frozen=True)
class MocoSettings:
    """Method moco."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    temperature: float = 0.2
    """Divides the cosine similarities of queries with keys."""
    momentum: float = 0.999
    """The momentum encoder keeps this share of itself at each step and takes the rest from the trained one."""
    queue_size: int = 0
    """Keys of past batches that are negatives; 0: half as many as there are training images, at most 65,536."""
    key_groups: int = 2
    """Each process embeds its shuffled part of the keys in so many groups, each with its own batch statistics."""


@dataclass(frozen=True)
class Tile2vecSettings:
    """Method tile2vec."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    margin: float = 50.0
    """By how much the near tile must be nearer than the far one, in units of embedding distance."""
    l2: float = 0.01
    """Weight of the embeddings' mean length."""
    far_km: float = 0.0
    """A tile within this distance of the anchor is no far one; 0 takes any other tile. It needs coordinates."""


def check_method_settings(config: Any) -> None:
    """Checks every rule on the settings of single methods.

    Args:
        config: with `strong_views`, `simclr`, `moco` and `tile2vec`.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    for name in ("jitter_probability", "grey_probability", "blur_probability", "brightness", "contrast", "saturation"):
        require(config, f"strong_views.{name}", lambda value: 0 <= value <= 1, "in [0, 1]")
    require(config, "strong_views.crop_area_min", lambda value: 0 < value <= 1, "in (0, 1]")
    require(config, "strong_views.hue_degrees", lambda value: 0 <= value <= 180, "in [0, 180]")
    for name in ("simclr.temperature", "moco.temperature", "tile2vec.margin"):
        require(config, name, lambda value: value > 0, "> 0")
    require(config, "moco.momentum", lambda value: 0 <= value < 1, "in [0, 1)")
    require(config, "moco.key_groups", lambda value: value >= 1, ">= 1")
    for name in ("moco.queue_size", "tile2vec.l2", "tile2vec.far_km"):
        require(config, name, lambda value: value >= 0, ">= 0")
