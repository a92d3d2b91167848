"""Losses on paired embeddings, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pretrain.losses.batch_triplet import BatchTripletLoss
from pretrain.losses.contrastive import ContrastiveLoss, SigmoidLoss, SymmetricContrastiveLoss
from pretrain.losses.naive_triplet import NaiveTripletLoss
from pretrain.settings.pretraining import LossSettings

LOSSES: dict[str, Callable[[LossSettings, int], nn.Module]] = {
    "batch-triplet": lambda settings, _: BatchTripletLoss(settings.margin, settings.reduction),
    "naive-triplet": lambda settings, _: NaiveTripletLoss(settings.margin, settings.reduction),
    "contrastive": lambda settings, _: ContrastiveLoss(settings.temperature, settings.direction),
    "symmetric-contrastive": lambda settings, embedding_dim: SymmetricContrastiveLoss(
        settings.temperature,
        queue_size=settings.queue_size,
        negatives_from_km=settings.negatives_from_km,
        embedding_dim=embedding_dim,
    ),
    "sigmoid": lambda settings, _: SigmoidLoss(),
}
"""From the settings and the dimensions of an embedding to a module, whose `on_sphere` says whether it wants embeddings
of length 1, and whose `inputs`, where it has them, name the entries of a batch that it takes beside embeddings."""
