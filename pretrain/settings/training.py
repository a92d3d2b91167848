"""The settings that every training run has, whatever it trains: how long, how fast, how often it saves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from pretrain.settings.files import require
from pretrain.trackers import TRACKERS
from shards.command_line import one_of
from shards.errors import UserError

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class OptimizerSettings:
    """How the weights are moved."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam, Adam with decoupled weight decay, or stochastic gradient descent."""
    learning_rate: float = 1e-3
    """The learning rate after warm-up."""
    weight_decay: float = 0.0
    """Weight decay of matrices and kernels; norms and biases have none."""
    momentum: float = 0.9
    """Of sgd; the others have none."""
    warmup_epochs: float = 1.0
    """Epochs over which the learning rate rises linearly from 0."""
    final_fraction: float = 0.0
    """Where the cosine ends, as a fraction of the learning rate; 1 keeps it constant."""
    restart_epochs: float = 0.0
    """After so many epochs the cosine starts anew (SGDR); 0: one cosine over the run."""
    restart_growth: float = 1.0
    """Each cosine lasts so many times as long as the one before."""
    max_gradient_norm: float = 0.0
    """Gradients are scaled down to this global norm; 0 leaves them as they are."""
    accumulation: int = 1
    """Parts of a global batch that are computed one after another; negatives come from within a part."""
    chunk_size: int = 0
    """Chunk size for gradient caching (GradCache), which costs a second forward pass: the loss still sees a process's
    whole part of the batch; 0 takes the part at once."""


@dataclass(frozen=True)
class ValidationSettings:
    """How often and how a run is validated, and when it stops early."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    every_epochs: int = 1
    """Validate after every so many epochs (and after the last)."""
    patience_epochs: int = 0
    """Stop when the score has not improved for so many epochs; 0 never stops early."""


@dataclass(frozen=True)
class CheckpointSettings:
    """What a killed run can go on from."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    every_epochs: int = 1
    """Save after every so many epochs (and after the last)."""
    every_steps: int = 0
    """Save after every so many steps too; 0 doesn't."""
    every_minutes: float = 0.0
    """Save when so many minutes have passed since the last time too; 0 doesn't."""
    keep: int = 2
    """The newest so many checkpoints are kept."""


@dataclass(frozen=True)
class RunSettings:
    """What the training loop asks of a run's settings; pre-training and fine-tuning add their own."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    out: Path = Path("runs/demo")
    """The run folder to write; it must not hold a run yet."""
    epochs: int = 40
    """Times that the training split is gone through."""
    max_seconds: float = 0.0
    """Train for at most so many seconds, validations and checkpoints not counted; the learning rate ends its cosine
    with them. 0: no limit."""
    batch_size: int = 64
    """The global batch: items a step over all processes and accumulation steps."""
    seed: int = 0
    """Fixes the weights' initialisation, the order of the samples and the augmentations."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the networks; "auto" is bf16 where the device computes in it. Losses are float32 in any case."""
    threads: int = 0
    """CPU threads of each training process; 0 shares the machine's cores out to its processes."""
    tracker: Annotated[str, one_of(TRACKERS)] = "mlflow"
    """Where metrics go beside metrics.jsonl. MLflow needs no server: it writes mlflow.db beside the run folder."""
    timeout_minutes: float = 10.0
    """Minutes that a process waits for the others before it ends with an error, as when a machine has vanished."""
    log_every_steps: int = 10
    """Steps between two training lines of metrics.jsonl."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)


CHANGEABLE_ON_RESUME = frozenset(
    {"epochs", "max_seconds", "threads", "tracker", "log_every_steps", "timeout_minutes"}
    | {"checkpoint.every_epochs", "checkpoint.every_steps", "checkpoint.every_minutes", "checkpoint.keep"}
)
"""Settings that a resumed run may change; the number of processes is the launcher's."""


def check_run_settings(settings: RunSettings, least_epochs: int = 1) -> None:
    """Checks every rule on these settings that can be known before data is opened.

    Args:
        settings: of any run.
        least_epochs: 0 where weights as they were initialised are of use.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    for name in (
        *("log_every_steps", "optimizer.accumulation", "checkpoint.keep"),
        *("validation.every_epochs", "checkpoint.every_epochs"),
    ):
        require(settings, name, lambda value: value >= 1, ">= 1")
    TRACKERS.check(settings.tracker)
    require(settings, "epochs", lambda value: value >= least_epochs, f">= {least_epochs}")
    for name in (
        *(
            "seed",
            "threads",
            "max_seconds",
            "validation.patience_epochs",
            "checkpoint.every_steps",
            "checkpoint.every_minutes",
        ),
        *("optimizer.weight_decay", "optimizer.warmup_epochs", "optimizer.max_gradient_norm", "optimizer.chunk_size"),
        "optimizer.restart_epochs",
    ):
        require(settings, name, lambda value: value >= 0, ">= 0")
    require(settings, "optimizer.final_fraction", lambda value: 0 <= value <= 1, "in [0, 1]")
    require(settings, "optimizer.momentum", lambda value: 0 <= value < 1, "in [0, 1)")
    require(settings, "optimizer.restart_growth", lambda value: value >= 1, ">= 1")
    if settings.optimizer.restart_epochs and settings.max_seconds:
        raise UserError(
            f"optimizer.restart_epochs must be 0 with max_seconds, under which one cosine ends with the time, got "
            f"{settings.optimizer.restart_epochs:g}"
        )
    require(settings, "optimizer.learning_rate", lambda value: value > 0, "> 0")
    require(settings, "timeout_minutes", lambda value: value > 0, "> 0")
    require(settings, "seed", lambda value: value < 2**32, "< 2**32")
