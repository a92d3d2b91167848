"""Every setting of a pre-training run: its type, its meaning, its default and its rule."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from shards.errors import UserError
from shards.streaming import is_url

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class DataSettings:
    """How samples are read and augmented."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

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

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    image_encoder: str = "resnet18"
    """Trunk of the image tower, a name in ENCODERS."""
    sound_encoder: str = "resnet18"
    """Trunk of the sound tower, a name in ENCODERS."""
    embedding_dim: int = 128
    """Dimensions of the common embedding space."""
    norm: Literal["batch", "sync", "group"] = "batch"
    """Normalisation layers: batch norm, batch norm over all processes (CUDA only), or group norm."""
    sound_pooling: int = 1
    """Spectrograms are average-pooled by this factor in time and mel before the sound trunk."""


@dataclass(frozen=True)
class LossSettings:
    """What is minimised."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str = "batch-triplet"
    """The loss, a name in LOSSES."""
    margin: float = 1.0
    """By how much a pair must be nearer than every mismatch, in units of embedding distance."""
    reduction: Literal["mean", "sum"] = "mean"
    """"sum" is the paper's; "mean" divides by the number of terms, so that the step does not depend on the batch."""


@dataclass(frozen=True)
class OptimizerSettings:
    """How the weights are moved."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: Literal["adam", "adamw"] = "adam"
    """Adam, or Adam with decoupled weight decay."""
    learning_rate: float = 1e-3
    """The learning rate after warm-up."""
    weight_decay: float = 0.0
    """Weight decay of matrices and kernels; norms and biases have none."""
    warmup_epochs: float = 1.0
    """Epochs over which the learning rate rises linearly from 0."""
    final_fraction: float = 0.0
    """Where the cosine ends, as a fraction of the learning rate; 1 keeps it constant."""
    max_gradient_norm: float = 0.0
    """Gradients are scaled down to this global norm; 0 leaves them as they are."""
    accumulation: int = 1
    """Parts of a global batch that are computed one after another; negatives come from within a part."""


@dataclass(frozen=True)
class ValidationSettings:
    """How often and how a run is validated, and when it stops early."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    every_epochs: int = 1
    """Validate after every so many epochs (and after the last)."""
    crops: int = 3
    """Evenly spaced sound crops whose embeddings are averaged."""
    patience_epochs: int = 0
    """Stop when the mean rank has not improved for so many epochs; 0 never stops early."""


@dataclass(frozen=True)
class CheckpointSettings:
    """What a killed run can go on from."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    every_epochs: int = 1
    """Save after every so many epochs (and after the last)."""
    every_steps: int = 0
    """Save after every so many steps too; 0 doesn't."""
    every_minutes: float = 0.0
    """Save when so many minutes have passed since the last time too; 0 doesn't."""
    keep: int = 2
    """The newest so many checkpoints are kept."""


@dataclass(frozen=True)
class Config:
    """A pre-training run."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    shards: str | Path = Path("data/demo-shards")
    """The shard set to train on: a folder, or a URL such as https://host/folder or s3://bucket/folder."""
    out: Path = Path("runs/demo")
    """The run folder to write; it must not hold a run yet."""
    epochs: int = 40
    """Times that the training split is gone through."""
    batch_size: int = 64
    """The global batch: pairs a step over all processes and accumulation steps."""
    seed: int = 0
    """Fixes the weights' initialisation, the order of the samples and the augmentations."""
    method: str = "audiovisual"
    """How a batch becomes a loss, a name in METHODS."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the towers; "auto" is bf16 where the device computes in it. Losses are float32 in any case."""
    threads: int = 0
    """CPU threads of each training process; 0 shares the machine's cores out to its processes."""
    tracker: Literal["mlflow", "tensorboard", "wandb", "none"] = "mlflow"
    """Where metrics go beside metrics.jsonl. MLflow needs no server: it writes mlflow.db beside the run folder."""
    log_every_steps: int = 10
    """Steps between two training lines of metrics.jsonl."""
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)

    def __post_init__(self) -> None:
        if not is_url(self.shards):
            object.__setattr__(self, "shards", Path(self.shards))


CHANGEABLE_ON_RESUME = frozenset(
    {"epochs", "data.workers", "threads", "tracker", "log_every_steps"}
    | {"data.cache_dir", "data.cache_gb", "data.skip_bad_shards", "data.allow_pipe"}
    | {"checkpoint.every_epochs", "checkpoint.every_steps", "checkpoint.every_minutes", "checkpoint.keep"}
)
"""Settings that a resumed run may change; the number of processes is the launcher's."""


def flatten(config: Config) -> dict[str, Any]:
    """The settings as one flat dict from dotted names to plain values."""

    def walk(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, dict):
                flat |= walk(f"{prefix}{name}.", value)
            else:
                flat[f"{prefix}{name}"] = str(value) if isinstance(value, Path) else value
        return flat

    return walk("", dataclasses.asdict(config))


def save_config(config: Config, path: Path) -> None:
    """Writes all settings, resolved, as YAML."""
    record = TypeAdapter(Config).dump_python(config, mode="json")
    path.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True), encoding="utf-8")


def load_config(path: Path) -> Config:
    """Reads settings from YAML; those not named keep their defaults.

    Raises:
        UserError: no such file, not YAML, an unknown setting (with the nearest known name), or a wrong type.
    """
    if not path.is_file():
        raise UserError(f"no settings at {path}: no such file")
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return TypeAdapter(Config).validate_python(record)
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} can't be read as UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = list(flatten(Config())) + [field.name for field in dataclasses.fields(Config)]
        near = difflib.get_close_matches(name, known, n=1)
        return f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{name}: {message}, got {fault['input']!r}" if name else message


def check_config(config: Config) -> None:
    """Checks every rule on a single setting or between settings that can be known before data is opened.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    flat = flatten(config)

    def require(name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise UserError(f"{name} must be {rule}, got {flat[name]}")

    for name in ("epochs", "log_every_steps", "data.block_samples", "optimizer.accumulation", "checkpoint.keep"):
        require(name, flat[name] >= 1, ">= 1")
    for name in (
        "validation.every_epochs",
        "checkpoint.every_epochs",
        "validation.crops",
        "model.embedding_dim",
        "model.sound_pooling",
    ):
        require(name, flat[name] >= 1, ">= 1")
    for name in (
        "seed",
        "threads",
        "data.workers",
        "validation.patience_epochs",
        "checkpoint.every_steps",
        "checkpoint.every_minutes",
    ):
        require(name, flat[name] >= 0, ">= 0")
    for name in ("optimizer.weight_decay", "optimizer.warmup_epochs", "optimizer.max_gradient_norm"):
        require(name, flat[name] >= 0, ">= 0")
    for name in ("optimizer.final_fraction", "data.blur_probability", "data.saturation", "data.value"):
        require(name, 0 <= flat[name] <= 1, "in [0, 1]")
    require("seed", config.seed < 2**32, "< 2**32")
    require("model.sound_pooling", config.model.sound_pooling <= 4, "<= 4, for the trunk shrinks its input 32 times")
    require("batch_size", config.batch_size >= 2, ">= 2 (a pair needs another pair as its negative)")
    require("data.image_size", config.data.image_size >= 32, ">= 32 pixels")
    require("data.num_frames", 32 <= config.data.num_frames <= 128, "in [32, 128], the shortest stored recording")
    require("data.crop_min", 0 < config.data.crop_min <= config.data.crop_max, "in (0, data.crop_max]")
    require("data.cache_gb", config.data.cache_gb > 0, "> 0")
    require("data.crop_max", config.data.crop_max <= 1, "<= 1, the whole image")
    require("data.rotation_degrees", 0 <= config.data.rotation_degrees <= 180, "in [0, 180]")
    require("data.hue_degrees", 0 <= config.data.hue_degrees <= 180, "in [0, 180]")
    require("loss.margin", config.loss.margin > 0, "> 0")
    require("optimizer.learning_rate", config.optimizer.learning_rate > 0, "> 0")


def refuse_changes_on_resume(saved: Config, wanted: Config) -> None:
    """Refuses to resume a run under other settings than it began with.

    Raises:
        UserError: names the first changed setting that is not in `CHANGEABLE_ON_RESUME`.
    """
    before, after = flatten(saved), flatten(wanted)
    for name, value in after.items():
        if before[name] != value and name not in CHANGEABLE_ON_RESUME:
            allowed = ", ".join(sorted(CHANGEABLE_ON_RESUME))
            raise UserError(
                f"{name} is {before[name]} in the run that is resumed and can't become {value}; "
                f"with --resume only these may change: {allowed}"
            )
