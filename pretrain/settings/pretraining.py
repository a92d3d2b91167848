"""Every setting of a pre-training run: its type, its meaning, its default and its rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from pretrain.settings import training as run_settings
from pretrain.settings.methods import MocoSettings, SimclrSettings, StrongViewSettings, Tile2vecSettings
from pretrain.settings.rules import Count, CountOrZero, Degrees, Fraction, NonNegative, Positive, check_rules
from pretrain.settings.training import RunSettings
from shards.errors import UserError
from shards.streaming.fetching import is_url


@dataclass(frozen=True)
class DataSettings:
    """How samples are read and augmented."""

    workers: CountOrZero = 2
    """Loader processes of each training process; 0 reads in the training process itself."""
    block_samples: Count = 8192
    """Samples are shuffled within blocks of whole shards of at least this many samples."""
    cache_dir: Path | None = None
    """Folder on a local disk where fetched shards are kept; by default those of a URL in the user's cache folder, and
    those of a folder are read where they are."""
    cache_gb: Positive = 50.0
    """The shards kept there never take more, in GB of 10^9 bytes."""
    skip_bad_shards: bool = False
    """Replace the samples of unreadable training shards by others, counted and reported, instead of stopping."""
    allow_pipe: bool = False
    """Allow --shards pipe:COMMAND, which runs a shell command to read each file."""
    image_size: Annotated[int, Field(ge=32, description="the networks shrink their input 32 times")] = 192
    """Side of the network's input image in pixels."""
    crop_min: Positive = 0.375
    """Smallest side of the random square crop, as a fraction of the stored image's side."""
    crop_max: Annotated[float, Field(le=1, description="1 is the whole image")] = 0.75
    """Largest side of the random square crop, as a fraction of the stored image's side."""
    rotation_degrees: Degrees = 180.0
    """Images are rotated by up to this angle either way."""
    blur_probability: Fraction = 0.1
    """Share of the images that are blurred."""
    hue_degrees: Degrees = 6.0
    """Hue is shifted by up to this angle either way, of 360."""
    saturation: Fraction = 0.1
    """Saturation is shifted by up to this fraction of its range either way."""
    value: Fraction = 0.1
    """Value (lightness) is shifted by up to this fraction of its range either way."""
    num_frames: Annotated[int, Field(ge=32, le=128, description="the shortest stored recording")] = 128
    """Consecutive spectrogram frames of a random sound crop (128 frames are 3.2 s at a hop of 25 ms)."""

    def check(self) -> None:
        """Checks what must hold between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.crop_min > self.crop_max:
            raise UserError(f"data.crop_min must be in (0, data.crop_max], got {self.crop_min}")


@dataclass(frozen=True)
class ModelSettings:
    """The two towers."""

    image_encoder: str = "resnet18"
    """Encoder of the image tower: a name in ENCODERS, timm:NAME, or module:object of your own."""
    sound_encoder: str = "resnet18"
    """Encoder of the sound tower: a name in ENCODERS, timm:NAME, or module:object of your own."""
    embedding_dim: Count = 128
    """Dimensions of the common embedding space."""
    norm: Literal["batch", "sync", "group"] = "batch"
    """Normalisation layers: batch norm, batch norm over all processes (CUDA only), or group norm."""
    sound_pooling: Annotated[int, Field(ge=1, le=4, description="the encoder shrinks its input 32 times")] = 1
    """Spectrograms are average-pooled by this factor in time and mel before the sound encoder."""
    image_init: str = "random"
    """Weights that the image encoder starts from: random, imagenet (torchvision's), pretrained (those published for the
    encoder, such as timm's), a run or model folder, or a file of its weights."""
    sound_init: str = "random"
    """Weights that the sound encoder starts from, as image_init; of weights for images, the first layer's three colours
    are summed."""
    imagenet_file: Path | None = None
    """A file with torchvision's ImageNet weights, where they are not in torch's cache and can't be fetched."""


@dataclass(frozen=True)
class LossSettings:
    """What is minimised."""

    name: str = "batch-triplet"
    """The loss, a name in LOSSES."""
    margin: Positive = 1.0
    """Of the triplet losses: by how much a pair must be nearer than a mismatch, in units of embedding distance."""
    temperature: Annotated[float, Field(gt=0.01, lt=1)] = 0.2
    """Of the contrastive losses, which divide cosine similarities by it; symmetric-contrastive begins with it."""
    queue_size: CountOrZero = 0
    """Of symmetric-contrastive: number of past pairs kept as extra negatives."""
    negatives_from_km: NonNegative = 0.0
    """Of symmetric-contrastive: pairs within this distance are excluded as negatives. It needs coordinates."""
    direction: Literal["image_to_sound", "both"] = "image_to_sound"
    """Of contrastive: one-way InfoNCE (image to sound), as the authors coded it, or both ways."""
    reduction: Literal["mean", "sum"] = "mean"
    """"sum" is the paper's; "mean" divides by the number of terms, so that the step does not depend on the batch."""


@dataclass(frozen=True)
class ValidationSettings(run_settings.ValidationSettings):
    """How often and how a run is validated, and when it stops early."""

    crops: Count = 3
    """Evenly spaced sound crops whose embeddings are averaged."""


@dataclass(frozen=True)
class Config(RunSettings):
    """A pre-training run."""

    shards: str | Path = Path("data/demo-shards")
    """The shard set to train on: a folder, or a URL such as https://host/folder or s3://bucket/folder."""
    method: str = "audiovisual"
    """How a batch becomes a loss, a name in METHODS."""
    epochs: CountOrZero = 40
    """Passes over the training split; 0 writes the weights as they were initialised."""
    batch_size: Annotated[int, Field(ge=2, description="a pair needs another pair as its negative")] = 64
    """The global batch: pairs a step over all processes and accumulation steps."""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    strong_views: StrongViewSettings = field(default_factory=StrongViewSettings)
    simclr: SimclrSettings = field(default_factory=SimclrSettings)
    moco: MocoSettings = field(default_factory=MocoSettings)
    tile2vec: Tile2vecSettings = field(default_factory=Tile2vecSettings)

    def __post_init__(self) -> None:
        if not is_url(self.shards):
            object.__setattr__(self, "shards", Path(self.shards))

    @override
    def check(self) -> None:
        super().check()
        if self.method != "audiovisual" and self.validation.patience_epochs:
            raise UserError(
                f"validation.patience_epochs must be 0 with method {self.method}, whose validation is no measure of "
                f"what the weights are good for, got {self.validation.patience_epochs}"
            )


CHANGEABLE_ON_RESUME = run_settings.CHANGEABLE_ON_RESUME | {
    *("data.workers", "data.cache_dir", "data.cache_gb", "data.skip_bad_shards", "data.allow_pipe"),
}
"""Settings that a resumed run may change; the number of processes is the launcher's."""


def check_config(config: Config) -> None:
    """Checks every rule on a single setting or between settings that can be known before data is opened.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    check_rules(config)
    for name in ("queue_size", "negatives_from_km"):
        value = getattr(config.loss, name)
        if value and config.loss.name != "symmetric-contrastive":
            raise UserError(
                f"loss.{name} must be 0 with loss.name {config.loss.name}; symmetric-contrastive uses it, got {value}"
            )
