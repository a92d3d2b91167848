"""The settings of each pre-training method, which build it; torch is imported only then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from pretrain.losses.settings import BatchTripletSettings, LossSettings, Temperature
from pretrain.methods import METHODS
from pretrain.settings.pretraining import Config, StrongViewSettings
from pretrain.settings.rules import Count, CountOrZero, NonNegative, OneOf, Positive
from shards.errors import UserError

MethodName = Annotated[str, OneOf(METHODS)]


@dataclass(frozen=True)
class AudiovisualConfig(Config):
    """Both towers under a loss on pairs (SoundingEarth, section IV)."""

    implementation: ClassVar[str] = "pretrain.methods.audiovisual:Audiovisual"

    method: MethodName = "audiovisual"
    mixing: NonNegative = 0.0
    """Alpha of FuseMix, which mixes the features of two pairs by a share from Beta(alpha, alpha); 0: off."""
    loss: LossSettings = field(default_factory=BatchTripletSettings)

    @override
    def check(self) -> None:
        super().check()
        if self.data.skip_bad_shards and self.model.freeze == "image,sound":
            raise UserError(
                "data.skip_bad_shards must be False with model.freeze image,sound, whose features are stored for every "
                "pair; copy the bad shards again, or freeze one encoder"
            )

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

    implementation: ClassVar[str] = "pretrain.methods.image_contrastive:ImageContrastive"

    method: MethodName = "image-contrastive"
    loss: ImageContrastiveLossSettings = field(default_factory=ImageContrastiveLossSettings)


@dataclass(frozen=True)
class SimclrSettings:
    """Method simclr."""

    temperature: Positive = 0.1
    """Divides the cosine similarities of NT-Xent."""


@dataclass(frozen=True)
class SimclrConfig(ImageOnlyConfig):
    """SimCLR (Chen et al., ICML 2020)."""

    implementation: ClassVar[str] = "pretrain.methods.simclr:Simclr"

    method: MethodName = "simclr"
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    simclr: SimclrSettings = field(default_factory=SimclrSettings)


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

    implementation: ClassVar[str] = "pretrain.methods.moco:Moco"

    method: MethodName = "moco"
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    moco: MocoSettings = field(default_factory=MocoSettings)


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

    implementation: ClassVar[str] = "pretrain.methods.tile2vec:Tile2vec"

    method: MethodName = "tile2vec"
    tile2vec: Tile2vecSettings = field(default_factory=Tile2vecSettings)
