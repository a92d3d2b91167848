"""The settings of every pre-training run; losses and methods add their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from pretrain.encoders import ENCODERS
from pretrain.settings import training as run_settings
from pretrain.settings.choosing import Chosen
from pretrain.settings.rules import Count, CountOrZero, Degrees, Fraction, NonNegative, OneOf, Positive
from pretrain.settings.training import RunSettings
from shards.errors import UserError
from shards.streaming.locations import is_url

if TYPE_CHECKING:
    from torch import nn

    from shards.manifest import Manifest
    from shards.schema import SpectrogramSettings

DEMO_SHARDS = Path("data/demo-shards")
"""Built by pre-training where they are missing."""

EncoderName = Annotated[str, OneOf(ENCODERS)]


@dataclass(frozen=True)
class DataSettings:
    """How samples are read and augmented."""

    workers: CountOrZero = 2
    """Loader processes of each training process; 0 reads in the training process itself."""
    block_samples: Count = 8192
    """Samples are shuffled within blocks of whole shards of at least this many samples."""
    cache_dir: Path | None = None
    """Folder on a local disk for fetched shards. By default shards of a URL go to the user's cache folder, and shards
    of a folder are read in place."""
    cache_gb: Positive = 50.0
    """Maximum size of that cache, in GB (10^9 bytes)."""
    decoded_gb: NonNegative = 1.0
    """Decoded images are kept on the local disk until the run ends if they take at most this much, in GB (10^9 bytes;
    0.8 MB an image of 512 px): each machine decodes them once, not once an epoch. 0: never."""
    decoded_dir: Path | None = None
    """Folder on a local disk for decoded images, by default the system's for temporary files. At most half of its free
    space is used."""
    skip_bad_shards: bool = False
    """Replace the samples of unreadable training shards by others, counted and reported, instead of stopping."""
    allow_pipe: bool = False
    """Allow --shards pipe:COMMAND, which runs a shell command to read each file."""
    image_size: Annotated[int, Field(ge=32, description="the networks shrink their input 32 times")] = 192
    """Side of the network's input image in pixels."""
    crop_by: Literal["side", "area"] = "side"
    """What is drawn for a random crop: its side, and crops are square; or its area, with aspect ratios up to 4:3, as in
    albumentations' RandomResizedCrop."""
    crop_min: Positive = 0.375
    """Smallest random crop, as a fraction of the side, or the area, of the stored image."""
    crop_max: Annotated[float, Field(le=1, description="1 is the whole image")] = 0.75
    """Largest random crop, as a fraction of the side, or the area, of the stored image."""
    rotation_degrees: Degrees = 180.0
    """Maximum rotation in either direction, in degrees."""
    blur: Literal["gaussian", "box"] = "gaussian"
    """Gaussian blur of 3 or 5 pixels, or the mean over 3 × 3 pixels."""
    blur_probability: Fraction = 0.1
    """Probability that an image is blurred."""
    grid_distortion_probability: Fraction = 0.0
    """Probability that a grid of 5 × 5 cells is stretched by up to 30 % (albumentations' GridDistortion)."""
    colour_probability: Fraction = 1.0
    """Probability that hue, saturation and value are shifted."""
    hue_degrees: Degrees = 6.0
    """Maximum hue shift in either direction, in degrees of 360."""
    saturation: Fraction = 0.1
    """Maximum saturation shift in either direction, as a fraction of its range."""
    value: Fraction = 0.1
    """Maximum value (lightness) shift in either direction, as a fraction of its range."""
    flips: bool = False
    """Mirror images at random, horizontally and vertically."""
    right_angles: bool = False
    """Turn images at random by a multiple of 90 degrees, which needs no interpolation; combine with
    data.rotation_degrees 0."""
    num_frames: Annotated[int, Field(ge=32, le=6000)] = 128
    """Spectrogram frames of a random sound crop (128 frames are 3.2 s at a hop of 25 ms). Shorter recordings are
    repeated."""
    feature_views: Count = 8
    """Random views of each pair whose features are stored, if model.freeze is image,sound."""
    features_dir: Path | None = None
    """Folder for these features, which runs on the same data can share; by default `features` in the run folder."""
    sound_seconds: Annotated[float, Field(ge=1, le=60)] | None = None
    """Seconds of a random sound crop, instead of data.num_frames."""
    mask_frames: Fraction = 0.0
    """Largest share of a sound crop's frames that a mask hides (SpecAugment); 0: no masks."""
    mask_bands: Fraction = 0.0
    """Largest share of a sound crop's mel bands that a mask hides (SpecAugment); 0: no masks."""
    level_db: NonNegative = 0.0
    """Largest change of a sound crop's level in either direction, in dB."""

    def frames_of_crop(self, spectrogram: SpectrogramSettings) -> int:
        """Number of frames in a sound crop.

        Raises:
            UserError: `sound_seconds` is set, but the hop of the spectrograms is not published.
        """
        if self.sound_seconds is None:
            return self.num_frames
        second = spectrogram.frames_to_seconds(1)
        if second is None:
            raise UserError(
                f"data.sound_seconds is {self.sound_seconds:g}, but the hop of these spectrograms is not published; "
                "give data.num_frames instead"
            )
        return round(self.sound_seconds / second)

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.crop_min > self.crop_max:
            raise UserError(f"data.crop_min must be in (0, data.crop_max], got {self.crop_min}")


@dataclass(frozen=True)
class StrongViewSettings:
    """The strong augmentation of simclr and moco (SimCLR, Chen et al., ICML 2020; MoCo v2, arXiv 2003.04297)."""

    crop_area_min: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Smallest area of the random crop, as a fraction of the stored image's; aspect ratios are up to 4:3."""
    jitter_probability: Fraction = 0.8
    """Probability of colour jitter."""
    brightness: Fraction = 0.4
    """Brightness is multiplied by a factor between 1 minus this and 1 plus this."""
    contrast: Fraction = 0.4
    """Contrast, as brightness."""
    saturation: Fraction = 0.4
    """Saturation, as brightness."""
    hue_degrees: Degrees = 36.0
    """Maximum hue shift in either direction, in degrees of 360."""
    grey_probability: Fraction = 0.2
    """Probability that a view is converted to grey."""
    grey_first: bool = False
    """Convert to grey before the colour jitter, as MoCo v1, instead of after it."""
    vertical_flips: bool = True
    """Mirror views vertically too: an overhead image has no up."""
    blur_probability: Fraction = 0.5
    """Probability of Gaussian blur, with a standard deviation of 0.1 to 2 pixels at an image size of 224."""


@dataclass(frozen=True)
class ModelSettings:
    """The two towers."""

    image_encoder: EncoderName = "resnet18"
    """Encoder of the image tower."""
    sound_encoder: EncoderName = "resnet18"
    """Encoder of the sound tower."""
    embedding_dim: Count = 128
    """Dimensions of the common embedding space."""
    head_hidden: CountOrZero = 0
    """Hidden units of each projection, which is then a linear layer, a GELU and a linear layer; 0: it is one linear
    layer."""
    norm: Literal["batch", "sync", "group"] = "batch"
    """Normalisation layers: batch norm, batch norm over all processes (CUDA only), or group norm."""
    sound_pooling: Annotated[int, Field(ge=1, le=4, description="the encoder shrinks its input 32 times")] = 1
    """Spectrograms are average-pooled by this factor in time and mel before the sound encoder."""
    freeze: Literal["none", "image", "sound", "image,sound"] = "none"
    """Encoders that are not trained. If neither is, their features are computed once and stored, and only the
    projections are trained."""
    unfreeze_epochs: CountOrZero = 0
    """Epochs after which frozen encoders are trained too; 0: never."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor from the learning rate of each layer of an encoder to that of the layer below it, to fine-tune pre-trained
    encoders; the projections have the full rate. 1: one rate for all."""
    keep_statistics: bool = False
    """Whether batch norms of encoders that start from given weights keep their running statistics while they are
    trained. A few hundred pairs give worse ones, which cost more than training brings."""
    image_init: str = "random"
    """Weights that the image encoder starts from: random, imagenet (torchvision's), pretrained (those published for the
    encoder, such as timm's), a run or model folder, or a file of its weights."""
    sound_init: str = "random"
    """Weights that the sound encoder starts from, as image_init; for weights trained on images, the three colours of
    the first layer are summed."""
    imagenet_file: Path | None = None
    """A file with torchvision's ImageNet weights, if they are not in torch's cache and can't be downloaded."""

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.unfreeze_epochs and self.freeze == "none":
            raise UserError(
                f"model.unfreeze_epochs must be 0 with model.freeze none, got {self.unfreeze_epochs}; say which "
                "encoders are frozen until then"
            )


@dataclass(frozen=True)
class ValidationSettings(run_settings.ValidationSettings):
    """Validation and early stopping."""

    crops: Count = 3
    """Number of evenly spaced sound crops whose embeddings are averaged."""
    keep: Literal["best", "last"] = "best"
    """The model that is kept: the best by validation, or the last. Methods that learn from images alone always keep the
    last."""

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.keep == "last" and self.patience_epochs:
            raise UserError(
                f"validation.patience_epochs must be 0 with validation.keep last, got {self.patience_epochs}; choose "
                "validation.keep best to stop at the best model"
            )


@dataclass(frozen=True)
class Config(RunSettings, Chosen):
    """A pre-training run; each method has a subclass with the settings of its own."""

    choice: ClassVar[str] = "method"
    registry: ClassVar[str] = "pretrain.methods:METHODS"
    implementation: ClassVar[str] = ""
    """`module:Class` of the method; its `from_config` takes these settings and a manifest."""
    trains_sound: ClassVar[bool] = True
    """Whether the method also trains the sound tower."""

    shards: str | Path = DEMO_SHARDS
    """The shard set to train on: a folder, or a URL such as https://host/folder or s3://bucket/folder."""
    method: str = "audiovisual"
    """The pre-training method."""
    epochs: CountOrZero = 40
    """Number of passes over the training split; 0 writes the initial weights."""
    batch_size: Annotated[int, Field(ge=2, description="a pair needs another pair as its negative")] = 64
    """Global batch size: pairs per step over all processes and accumulation steps."""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)

    def __post_init__(self) -> None:
        if not is_url(self.shards):
            object.__setattr__(self, "shards", Path(self.shards))

    def build(self, manifest: Manifest) -> nn.Module:
        """Builds the method, a `pretrain.methods.interface.Method`, with towers for the spectrograms of a shard set.

        Raises:
            UserError: the settings don't fit the shard set, or the weights to start from are missing or don't fit.
        """
        if not self.implementation:
            raise UserError(
                f"method {self.method} must set `implementation` or define `build`; its settings do neither"
            )
        method: nn.Module = resolve_name(self.implementation).from_config(self, manifest)
        return method

    @property
    def summary(self) -> str:
        """The method and its main settings, for model cards."""
        return self.method if self.trains_sound else f"{self.method}, on the images alone"

    @classmethod
    @override
    def is_of_all_choices(cls, record: Mapping[str, Any]) -> bool:
        return {"loss", "strong_views", "simclr", "moco", "tile2vec"} <= record.keys()


CHANGEABLE_ON_RESUME = run_settings.CHANGEABLE_ON_RESUME | {
    *(
        "data.workers",
        "data.cache_dir",
        "data.cache_gb",
        "data.decoded_gb",
        "data.decoded_dir",
        "data.skip_bad_shards",
        "data.allow_pipe",
        "data.features_dir",
    ),
}
"""Settings that a resumed run may change; the number of processes is the launcher's."""
