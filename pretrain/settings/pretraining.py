"""Every setting of a pre-training run: its type, its meaning, its default and its rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict

from pretrain.settings import training as run_settings
from pretrain.settings.files import require
from pretrain.settings.methods import (
    MocoSettings,
    SimclrSettings,
    StrongViewSettings,
    Tile2vecSettings,
    check_method_settings,
)
from pretrain.settings.training import STRICT, RunSettings, check_run_settings
from shards.streaming.fetching import is_url


@dataclass(frozen=True)
class DataSettings:
    """How samples are read and augmented."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    workers: int = 2
    """Loader processes of each training process; 0 reads in the training process itself."""
    block_samples: int = 8192
    """Samples are shuffled within blocks of whole shards of at least this many samples."""
    cache_dir: Path | None = None
    """Folder on a local disk where fetched shards are kept; by default those of a URL in the user's cache folder, and
    those of a folder are read where they are."""
    cache_gb: float = 50.0
    """The shards kept there never take more, in GB of 10^9 bytes."""
    skip_bad_shards: bool = False
    """Replace the samples of unreadable training shards by others, counted and reported, instead of stopping."""
    allow_pipe: bool = False
    """Allow --shards pipe:COMMAND, which runs a shell command to read each file."""
    image_size: int = 192
    """Side of the network's input image in pixels."""
    crop_min: float = 0.375
    """Smallest side of the random square crop, as a fraction of the stored image's side."""
    crop_max: float = 0.75
    """Largest side of the random square crop, as a fraction of the stored image's side."""
    rotation_degrees: float = 180.0
    """Images are rotated by up to this angle either way."""
    blur_probability: float = 0.1
    """Share of the images that are blurred."""
    hue_degrees: float = 6.0
    """Hue is shifted by up to this angle either way, of 360."""
    saturation: float = 0.1
    """Saturation is shifted by up to this fraction of its range either way."""
    value: float = 0.1
    """Value (lightness) is shifted by up to this fraction of its range either way."""
    num_frames: int = 128
    """Consecutive spectrogram frames of a random sound crop (128 frames are 3.2 s at a hop of 25 ms)."""


@dataclass(frozen=True)
class ModelSettings:
    """The two towers."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    image_encoder: str = "resnet18"
    """Encoder of the image tower: a name in ENCODERS, timm:NAME, or module:object of your own."""
    sound_encoder: str = "resnet18"
    """Encoder of the sound tower: a name in ENCODERS, timm:NAME, or module:object of your own."""
    embedding_dim: int = 128
    """Dimensions of the common embedding space."""
    norm: Literal["batch", "sync", "group"] = "batch"
    """Normalisation layers: batch norm, batch norm over all processes (CUDA only), or group norm."""
    sound_pooling: int = 1
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

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str = "batch-triplet"
    """The loss, a name in LOSSES."""
    margin: float = 1.0
    """Of the triplet losses: by how much a pair must be nearer than a mismatch, in units of embedding distance."""
    temperature: float = 0.2
    """Of the contrastive losses, which divide cosine similarities by it; symmetric-contrastive begins with it."""
    queue_size: int = 0
    """Of symmetric-contrastive: number of past pairs kept as extra negatives."""
    negatives_from_km: float = 0.0
    """Of symmetric-contrastive: pairs within this distance are excluded as negatives. It needs coordinates."""
    direction: Literal["image_to_sound", "both"] = "image_to_sound"
    """Of contrastive: one-way InfoNCE (image to sound), as the authors coded it, or both ways."""
    reduction: Literal["mean", "sum"] = "mean"
    """"sum" is the paper's; "mean" divides by the number of terms, so that the step does not depend on the batch."""


@dataclass(frozen=True)
class ValidationSettings(run_settings.ValidationSettings):
    """How often and how a run is validated, and when it stops early."""

    crops: int = 3
    """Evenly spaced sound crops whose embeddings are averaged."""


@dataclass(frozen=True)
class Config(RunSettings):
    """A pre-training run."""

    shards: str | Path = Path("data/demo-shards")
    """The shard set to train on: a folder, or a URL such as https://host/folder or s3://bucket/folder."""
    method: str = "audiovisual"
    """How a batch becomes a loss, a name in METHODS."""
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


CHANGEABLE_ON_RESUME = run_settings.CHANGEABLE_ON_RESUME | {
    *("data.workers", "data.cache_dir", "data.cache_gb", "data.skip_bad_shards", "data.allow_pipe"),
}
"""Settings that a resumed run may change; the number of processes is the launcher's."""


def check_config(config: Config) -> None:
    """Checks every rule on a single setting or between settings that can be known before data is opened.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    check_run_settings(config, least_epochs=0)
    check_method_settings(config)
    for name in ("data.block_samples", "validation.crops", "model.embedding_dim", "model.sound_pooling"):
        require(config, name, lambda value: value >= 1, ">= 1")
    require(config, "data.workers", lambda value: value >= 0, ">= 0")
    for name in ("data.blur_probability", "data.saturation", "data.value"):
        require(config, name, lambda value: 0 <= value <= 1, "in [0, 1]")
    require(config, "model.sound_pooling", lambda value: value <= 4, "<= 4, for the encoder shrinks its input 32 times")
    require(config, "batch_size", lambda value: value >= 2, ">= 2 (a pair needs another pair as its negative)")
    require(config, "data.image_size", lambda value: value >= 32, ">= 32 pixels")
    require(config, "data.num_frames", lambda value: 32 <= value <= 128, "in [32, 128], the shortest stored recording")
    require(config, "data.crop_min", lambda value: 0 < value <= config.data.crop_max, "in (0, data.crop_max]")
    require(config, "data.cache_gb", lambda value: value > 0, "> 0")
    if config.method != "audiovisual":
        rule = f"0 with method {config.method}, whose validation is no measure of what the weights are good for"
        require(config, "validation.patience_epochs", lambda value: value == 0, rule)
    require(config, "data.crop_max", lambda value: value <= 1, "<= 1, the whole image")
    require(config, "data.rotation_degrees", lambda value: 0 <= value <= 180, "in [0, 180]")
    require(config, "data.hue_degrees", lambda value: 0 <= value <= 180, "in [0, 180]")
    require(config, "loss.margin", lambda value: value > 0, "> 0")
    for name in ("loss.queue_size", "loss.negatives_from_km"):
        require(config, name, lambda value: value >= 0, ">= 0")
        if config.loss.name != "symmetric-contrastive":
            rule = f"0 with loss.name {config.loss.name}; symmetric-contrastive makes use of it"
            require(config, name, lambda value: value == 0, rule)
    require(config, "loss.temperature", lambda value: 0.01 < value < 1, "between 0.01 and 1")
