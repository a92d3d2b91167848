"""The settings of each pre-training method, which build it; torch is imported only then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

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


HEAD_HIDDEN = 512


@dataclass(frozen=True)
class HeadSettings:
    """The head and the views of simclr and moco."""

    head: Literal["mlp", "projector", "linear"] = "mlp"
    """What follows the image tower's linear layer, which is released: mlp, a ReLU and a linear layer; projector, two
    linear layers with a ReLU between them; linear, nothing."""
    head_hidden: Count = HEAD_HIDDEN
    """Hidden units of a projector."""
    head_dim: CountOrZero = 0
    """Dimensions of what the head returns; 0: model.embedding_dim."""
    views: Literal["strong", "pairs"] = "strong"
    """The augmentation of the views: the strong one (strong_views), or that of the audiovisual methods (data)."""

    def check_head(self, name: str, strong_views: StrongViewSettings) -> None:
        """Checks that no setting is without effect.

        Args:
            name: of the method, which these settings are of.
            strong_views: the strong augmentation.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.head != "projector" and self.head_hidden != HEAD_HIDDEN:
            raise UserError(
                f"{name}.head_hidden must be left at {HEAD_HIDDEN} with {name}.head {self.head}, which has no hidden "
                f"layer of its own, got {self.head_hidden}; choose {name}.head projector, or set model.embedding_dim"
            )
        if self.head == "linear" and self.head_dim:
            raise UserError(
                f"{name}.head_dim must be 0 with {name}.head linear, which ends with the tower's linear layer, got "
                f"{self.head_dim}; set model.embedding_dim"
            )
        if self.views == "pairs" and strong_views != StrongViewSettings():
            raise UserError(
                f"strong_views must be left as they are with {name}.views pairs, whose augmentation is set by data; "
                f"choose {name}.views strong"
            )


@dataclass(frozen=True)
class SimclrSettings(HeadSettings):
    """Method simclr."""

    temperature: Positive = 0.1
    """Divides the cosine similarities of the loss."""
    loss: Literal["nt-xent", "one-way"] = "nt-xent"
    """NT-Xent, where the negatives of a view are all views of other images; or one-way InfoNCE, where they are those
    other images' first views, as in the code of SoundingEarth's authors."""


@dataclass(frozen=True)
class SimclrConfig(ImageOnlyConfig):
    """SimCLR (Chen et al., ICML 2020)."""

    implementation: ClassVar[str] = "pretrain.methods.simclr:Simclr"

    method: MethodName = "simclr"
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    simclr: SimclrSettings = field(default_factory=SimclrSettings)

    @override
    def check(self) -> None:
        super().check()
        self.simclr.check_head("simclr", self.strong_views)


@dataclass(frozen=True)
class MocoSettings(HeadSettings):
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
    """MoCo, by default version 2 (Chen et al., arXiv 2003.04297)."""

    implementation: ClassVar[str] = "pretrain.methods.moco:Moco"

    method: MethodName = "moco"
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    moco: MocoSettings = field(default_factory=MocoSettings)

    @override
    def check(self) -> None:
        super().check()
        self.moco.check_head("moco", self.strong_views)


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
