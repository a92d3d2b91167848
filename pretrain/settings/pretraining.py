"""The settings of every pre-training run; losses and methods add their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from pretrain.encoders import ENCODERS
from pretrain.settings import training as run_settings
from pretrain.settings.choosing import Chosen
from pretrain.settings.rules import Count, CountOrZero, Degrees, Fraction, OneOf, Positive
from pretrain.settings.training import RunSettings
from shards.errors import UserError
from shards.streaming.locations import is_url

if TYPE_CHECKING:
    from torch import nn

    from shards.manifest import Manifest

DEMO_SHARDS = Path("data/demo-shards")
"""Built by pre-training itself where they are missing."""

EncoderName = Annotated[str, OneOf(ENCODERS)]


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
class StrongViewSettings:
    """The strong augmentation of simclr and moco (SimCLR, Chen et al., ICML 2020; MoCo v2, arXiv 2003.04297)."""

    crop_area_min: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Smallest area of the random crop, as a fraction of the stored image's; its sides are up to 4:3."""
    jitter_probability: Fraction = 0.8
    """Share of the views whose colours are changed."""
    brightness: Fraction = 0.4
    """Brightness is multiplied by up to 1 plus this, or down to 1 minus this; contrast and saturation alike."""
    contrast: Fraction = 0.4
    """As brightness."""
    saturation: Fraction = 0.4
    """As brightness."""
    hue_degrees: Degrees = 36.0
    """Hue is shifted by up to this angle either way, of 360."""
    grey_probability: Fraction = 0.2
    """Share of the views that lose their colours."""
    blur_probability: Fraction = 0.5
    """Share of the views that are blurred, with a standard deviation of 0.1 to 2 pixels at 224 pixels a side."""


@dataclass(frozen=True)
class ModelSettings:
    """The two towers."""

    image_encoder: EncoderName = "resnet18"
    """Encoder of the image tower."""
    sound_encoder: EncoderName = "resnet18"
    """Encoder of the sound tower."""
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
class ValidationSettings(run_settings.ValidationSettings):
    """How often and how a run is validated, and when it stops early."""

    crops: Count = 3
    """Evenly spaced sound crops whose embeddings are averaged."""


@dataclass(frozen=True)
class Config(RunSettings, Chosen):
    """A pre-training run; each method has a subclass with the settings of its own."""

    choice: ClassVar[str] = "method"
    registry: ClassVar[str] = "pretrain.methods:METHODS"
    trains_sound: ClassVar[bool] = True
    """Whether the method trains the sound tower, too."""

    shards: str | Path = DEMO_SHARDS
    """The shard set to train on: a folder, or a URL such as https://host/folder or s3://bucket/folder."""
    method: str = "audiovisual"
    """The pre-training method."""
    epochs: CountOrZero = 40
    """Passes over the training split; 0 writes the weights as they were initialised."""
    batch_size: Annotated[int, Field(ge=2, description="a pair needs another pair as its negative")] = 64
    """The global batch: pairs a step over all processes and accumulation steps."""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)

    def __post_init__(self) -> None:
        if not is_url(self.shards):
            object.__setattr__(self, "shards", Path(self.shards))

    def build(self, manifest: Manifest) -> nn.Module:
        """The method, a `pretrain.methods.interface.Method`, with towers for the spectrograms of a shard set.

        Raises:
            UserError: the settings don't fit the shard set, or the weights to start from are missing or don't fit.
        """
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """The method and its main settings, for model cards."""
        return self.method if self.trains_sound else f"{self.method}, on the images alone"

    @classmethod
    @override
    def is_of_all_choices(cls, record: Mapping[str, Any]) -> bool:
        return {"loss", "strong_views", "simclr", "moco", "tile2vec"} <= record.keys()


CHANGEABLE_ON_RESUME = run_settings.CHANGEABLE_ON_RESUME | {
    *("data.workers", "data.cache_dir", "data.cache_gb", "data.skip_bad_shards", "data.allow_pipe"),
}
"""Settings that a resumed run may change; the number of processes is the launcher's."""
