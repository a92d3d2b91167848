"""The settings of each pre-training method, which build it; torch is imported only then."""

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
                f"validation.patience_epochs must be 0 with method {self.method}, whose validation does not "
                f"measure how useful the weights are, got {self.validation.patience_epochs}"
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
    """Momentum of the moving average of the encoder's weights."""
    queue_size: CountOrZero = 0
    """Number of past keys kept as negatives; 0: half the number of training images, at most 65,536."""
    key_groups: Count = 2
    """Groups of keys in each process, each with batch statistics of its own (shuffling batch norm)."""


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
    """By how much the neighbouring tile must be nearer than the distant one, in units of embedding distance."""
    l2: NonNegative = 0.01
    """Weight of the penalty on the mean length of embeddings."""
    far_km: NonNegative = 0.0
    """Minimum distance of the distant tile in km; 0 allows any other tile. Needs coordinates."""


@dataclass(frozen=True)
class Tile2vecConfig(ImageOnlyConfig):
    """Tile2Vec (Jean et al., AAAI 2019)."""

    method: MethodName = "tile2vec"
    tile2vec: Tile2vecSettings = field(default_factory=Tile2vecSettings)

    @override
    def build(self, manifest: Manifest) -> Method:
        from pretrain.methods.tile2vec import Tile2vec

        return Tile2vec.from_config(self, manifest)
