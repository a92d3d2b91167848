"""The settings of each loss on pairs, which build it; torch is imported only then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from pretrain.losses import LOSSES
from pretrain.settings.choosing import Chosen
from pretrain.settings.rules import CountOrZero, NonNegative, OneOf, Positive
from shards.errors import UserError

if TYPE_CHECKING:
    from pretrain.losses.pair_loss import PairLoss

LossName = Annotated[str, OneOf(LOSSES)]
Temperature = Annotated[float, Field(gt=0.01, lt=1)]


@dataclass(frozen=True)
class LossSettings(Chosen, ABC):
    """The loss on pairs."""

    choice: ClassVar[str] = "name"
    registry: ClassVar[str] = "pretrain.losses:LOSSES"

    name: LossName = "batch-triplet"
    """The loss."""

    @abstractmethod
    def build(self, embedding_dim: int) -> PairLoss:
        """Builds the loss.

        Args:
            embedding_dim: d of the (n, d) embeddings.
        """

    @property
    def summary(self) -> str:
        """The loss and its main setting, for model cards."""
        return f"loss `{self.name}`"


@dataclass(frozen=True)
class TripletSettings(LossSettings):
    """A loss that separates pairs from mismatches by a margin."""

    margin: Positive = 1.0
    """By how much a pair must be nearer than a mismatch, in units of embedding distance."""
    reduction: Literal["mean", "sum"] = "mean"
    """"sum" is the paper's; "mean" divides by the number of terms, so that the step size does not depend on the batch
    size."""

    @property
    @override
    def summary(self) -> str:
        return f"{super().summary}, margin {self.margin:g}"


@dataclass(frozen=True)
class BatchTripletSettings(TripletSettings):
    """Every mismatch of the batch against its pair (SoundingEarth, Algorithm 1)."""

    @override
    def build(self, embedding_dim: int) -> PairLoss:
        from pretrain.losses.batch_triplet import BatchTripletLoss

        return BatchTripletLoss(self.margin, self.reduction)


@dataclass(frozen=True)
class NaiveTripletSettings(TripletSettings):
    """One random mismatch for each pair (SoundingEarth, Eq. 2)."""

    name: LossName = "naive-triplet"

    @override
    def build(self, embedding_dim: int) -> PairLoss:
        from pretrain.losses.naive_triplet import NaiveTripletLoss

        return NaiveTripletLoss(self.margin, self.reduction)


@dataclass(frozen=True)
class ContrastiveSettings(LossSettings):
    """InfoNCE on the unit sphere at a fixed temperature."""

    name: LossName = "contrastive"
    temperature: Temperature = 0.2
    """Divides cosine similarities."""
    direction: Literal["image_to_sound", "both"] = "image_to_sound"
    """One-way InfoNCE (image to sound), as SoundingEarth's authors coded it, or both ways."""

    @override
    def build(self, embedding_dim: int) -> PairLoss:
        from pretrain.losses.contrastive import ContrastiveLoss

        return ContrastiveLoss(self.temperature, self.direction)


@dataclass(frozen=True)
class SymmetricContrastiveSettings(LossSettings):
    """InfoNCE both ways at a learned temperature (CLIP's), with extra negatives."""

    name: LossName = "symmetric-contrastive"
    temperature: Temperature = 0.2
    """Divides cosine similarities; its initial value, since it is learned."""
    queue_size: CountOrZero = 0
    """Number of past pairs kept as extra negatives."""
    negatives_from_km: NonNegative = 0.0
    """Pairs within this distance are excluded as negatives. Needs coordinates."""
    positives: Literal["pair", "image", "place"] = "pair"
    """What counts as a positive: the other half of the pair, or of all pairs of the batch with the same image, or with
    the same place (coordinates equal to 0.0001 degrees, 11 m)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each target that all pairs of the batch have alike."""

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        for name, value in (("queue_size", self.queue_size), ("negatives_from_km", self.negatives_from_km)):
            if value and self.positives != "pair":
                raise UserError(f"loss.{name} must be 0 with loss.positives {self.positives}, got {value:g}")
            if value and self.label_smoothing:
                raise UserError(f"loss.{name} must be 0 with loss.label_smoothing, got {value:g}")

    @override
    def build(self, embedding_dim: int) -> PairLoss:
        from pretrain.losses.contrastive import SymmetricContrastiveLoss

        return SymmetricContrastiveLoss(
            self.temperature,
            queue_size=self.queue_size,
            negatives_from_km=self.negatives_from_km,
            embedding_dim=embedding_dim,
            positives=self.positives,
            label_smoothing=self.label_smoothing,
        )


@dataclass(frozen=True)
class SigmoidSettings(LossSettings):
    """SigLIP's loss on every pair of an image and a sound, with a learned scale and bias."""

    name: LossName = "sigmoid"

    @override
    def build(self, embedding_dim: int) -> PairLoss:
        from pretrain.losses.contrastive import SigmoidLoss

        return SigmoidLoss()
