"""What each pre-training method may be set to, and how it is built; reading settings imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from pretrain.losses.settings import BatchTripletSettings, LossSettings, Temperature
from pretrain.methods import METHODS
from pretrain.settings.pretraining import Config, StrongViewSettings
from pretrain.settings.rules import Count, CountOrZero, NonNegative, OneOf, Positive
from shards.errors import UserError

if TYPE_CHECKING:
    from pretrain.methods.interface import Method
    from shards.manifest import Manifest

MethodName = Annotated[str, OneOf(METHODS)]


@dataclass(frozen=True)
class AudiovisualConfig(Config):
    """Both towers under a loss on pairs (SoundingEarth, section IV)."""

    method: MethodName = "audiovisual"
    loss: LossSettings = field(default_factory=BatchTripletSettings)

    @override
    def build(self, manifest: Manifest) -> Method:
        from pretrain.methods.audiovisual import Audiovisual

        return Audiovisual.from_config(self, manifest)

    @property
    @override
    def summary(self) -> str:
        return f"{self.method}, {self.loss.summary}"


@dataclass(frozen=True)
class ImageOnlyConfig(Config):
    """A method that learns from the images alone."""

    trains_sound: ClassVar[bool] = False

    @override
    def check(self) -> None:
        super().check()
        if self.validation.patience_epochs:
            raise UserError(
                f"validation.patience_epochs must be 0 with method {self.method}, whose validation is no measure of "
                f"what the weights are good for, got {self.validation.patience_epochs}"
            )


@dataclass(frozen=True)
class ImageContrastiveLossSettings:
    """The loss of the method image-contrastive."""

    temperature: Temperature = 0.2
    """Divides cosine similarities."""


@dataclass(frozen=True)
class ImageContrastiveConfig(ImageOnlyConfig):
    """The contrastive loss between two views of an image, without a projection head."""

    method: MethodName = "image-contrastive"
    loss: ImageContrastiveLossSettings = field(default_factory=ImageContrastiveLossSettings)

    @override
    def build(self, manifest: Manifest) -> Method:
        from pretrain.methods.image_contrastive import ImageContrastive

        return ImageContrastive.from_config(self, manifest)


@dataclass(frozen=True)
class SimclrSettings:
    """Method simclr."""

    temperature: Positive = 0.1
    """Divides the cosine similarities of NT-Xent."""


@dataclass(frozen=True)
class SimclrConfig(ImageOnlyConfig):
    """SimCLR (Chen et al., ICML 2020)."""

    method: MethodName = "simclr"
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    simclr: SimclrSettings = field(default_factory=SimclrSettings)

    @override
    def build(self, manifest: Manifest) -> Method:
        from pretrain.methods.simclr import Simclr

        return Simclr.from_config(self, manifest)


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
class MocoConfig(ImageOnlyConfig):
    """MoCo v2 (Chen et al., arXiv 2003.04297)."""

    method: MethodName = "moco"
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    moco: MocoSettings = field(default_factory=MocoSettings)

    @override
    def build(self, manifest: Manifest) -> Method:
        from pretrain.methods.moco import Moco

        return Moco.from_config(self, manifest)


@dataclass(frozen=True)
class Tile2vecSettings:
    """Method tile2vec."""

    margin: Positive = 50.0
    """By how much the near tile must be nearer than the far one, in units of embedding distance."""
    l2: NonNegative = 0.01
    """Weight of the embeddings' mean length."""
    far_km: NonNegative = 0.0
    """Minimum distance of the distant tile; 0 takes any other tile. It needs coordinates."""


@dataclass(frozen=True)
class Tile2vecConfig(ImageOnlyConfig):
    """Tile2Vec (Jean et al., AAAI 2019)."""

    method: MethodName = "tile2vec"
    tile2vec: Tile2vecSettings = field(default_factory=Tile2vecSettings)

    @override
    def build(self, manifest: Manifest) -> Method:
        from pretrain.methods.tile2vec import Tile2vec

        return Tile2vec.from_config(self, manifest)
