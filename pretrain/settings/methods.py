"""Settings that belong to single pre-training methods: their types, rules, meanings and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from pretrain.settings.rules import Count, CountOrZero, Degrees, Fraction, NonNegative, Positive


@dataclass(frozen=True)
class StrongViewSettings:
    """The strong augmentation of simclr and moco (SimCLR, Chen et al., ICML 2020; MoCo v2, arXiv 2003.04297)."""

    crop_area_min: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Smallest area of the random crop, as a fraction of the stored image's; its sides are up to 4:3."""
    jitter_probability: Fraction = 0.8
    """Share of the views whose colours are changed."""
    brightness: Fraction = 0.4
    """Brightness is multiplied by up to 1 plus this, or down to 1 minus this; contrast and saturation alike."""
    contrast: Fraction = 0.4
    """As brightness."""
    saturation: Fraction = 0.4
    """As brightness."""
    hue_degrees: Degrees = 36.0
    """Hue is shifted by up to this angle either way, of 360."""
    grey_probability: Fraction = 0.2
    """Share of the views that lose their colours."""
    blur_probability: Fraction = 0.5
    """Share of the views that are blurred, with a standard deviation of 0.1 to 2 pixels at 224 pixels a side."""


@dataclass(frozen=True)
class SimclrSettings:
    """Method simclr."""

    temperature: Positive = 0.1
    """Divides the cosine similarities of NT-Xent."""


@dataclass(frozen=True)
class MocoSettings:
    """Method moco."""

    temperature: Positive = 0.2
    """Divides the cosine similarities of queries with keys."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """The momentum encoder keeps this share of itself at each step and takes the rest from the trained one."""
    queue_size: CountOrZero = 0
    """Keys of past batches that are negatives; 0: half as many as there are training images, at most 65,536."""
    key_groups: Count = 2
    """Each process embeds its shuffled part of the keys in so many groups, each with its own batch statistics."""


@dataclass(frozen=True)
class Tile2vecSettings:
    """Method tile2vec."""

    margin: Positive = 50.0
    """By how much the near tile must be nearer than the far one, in units of embedding distance."""
    l2: NonNegative = 0.01
    """Weight of the embeddings' mean length."""
    far_km: NonNegative = 0.0
    """A tile within this distance of the anchor is no far one; 0 takes any other tile. It needs coordinates."""
