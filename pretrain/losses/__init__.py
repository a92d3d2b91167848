"""Losses on paired embeddings, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pretrain.config import LossSettings
from pretrain.losses.batch_triplet import BatchTripletLoss

LOSSES: dict[str, Callable[[LossSettings], nn.Module]] = {
    "batch-triplet": lambda settings: BatchTripletLoss(settings.margin, settings.reduction),
}
