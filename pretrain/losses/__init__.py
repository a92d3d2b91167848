"""Losses on paired embeddings, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pretrain.config import LossSettings
from pretrain.losses.batch_triplet import BatchTripletLoss
from pretrain.losses.contrastive import ContrastiveLoss, SigmoidLoss, SymmetricContrastiveLoss
from pretrain.losses.naive_triplet import NaiveTripletLoss

LOSSES: dict[str, Callable[[LossSettings], nn.Module]] = {
    "batch-triplet": lambda settings: BatchTripletLoss(settings.margin, settings.reduction),
    "naive-triplet": lambda settings: NaiveTripletLoss(settings.margin, settings.reduction),
    "contrastive": lambda settings: ContrastiveLoss(settings.temperature, settings.direction),
    "symmetric-contrastive": lambda settings: SymmetricContrastiveLoss(settings.temperature),
    "sigmoid": lambda settings: SigmoidLoss(),
}
