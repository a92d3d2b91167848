"""Losses on paired embeddings, by name; a new one is a file here, its settings, and a line in `LOSSES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.registry import Registry

if TYPE_CHECKING:
    from pretrain.losses.settings import LossSettings

LOSSES: Registry[type[LossSettings]] = Registry(
    "loss.name",
    {
        "batch-triplet": "pretrain.losses.settings:BatchTripletSettings",
        "naive-triplet": "pretrain.losses.settings:NaiveTripletSettings",
        "contrastive": "pretrain.losses.settings:ContrastiveSettings",
        "symmetric-contrastive": "pretrain.losses.settings:SymmetricContrastiveSettings",
        "sigmoid": "pretrain.losses.settings:SigmoidSettings",
    },
    takes_outside_code=True,
    subclass_of="pretrain.losses.settings:LossSettings",
)
"""Each is the dataclass of a loss's settings, a `LossSettings`, which builds the loss."""
