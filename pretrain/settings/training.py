"""The settings that every training run has, whatever it trains: how long, how fast, how often it saves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pretrain.settings.rules import Count, CountOrZero, Fraction, NonNegative, OneOf, Positive
from pretrain.trackers import TRACKERS
from shards.errors import UserError


@dataclass(frozen=True)
class OptimizerSettings:
    """How the weights are moved."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam, Adam with decoupled weight decay, or stochastic gradient descent."""
    learning_rate: Positive = 1e-3
    """The learning rate after warm-up."""
    weight_decay: NonNegative = 0.0
    """Weight decay of matrices and kernels; norms and biases have none."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd; the others have none."""
    warmup_epochs: NonNegative = 1.0
    """Epochs over which the learning rate rises linearly from 0."""
    final_fraction: Fraction = 0.0
    """Where the cosine ends, as a fraction of the learning rate; 1 keeps it constant."""
    restart_epochs: NonNegative = 0.0
    """After so many epochs the cosine starts anew (SGDR); 0: one cosine over the run."""
    restart_growth: Annotated[float, Field(ge=1)] = 1.0
    """Each cosine lasts so many times as long as the one before."""
    max_gradient_norm: NonNegative = 0.0
    """Gradients are scaled down to this global norm; 0 leaves them as they are."""
    accumulation: Count = 1
    """Parts of a global batch that are computed one after another; negatives come from within a part."""
    chunk_size: CountOrZero = 0
    """Chunk size for gradient caching (GradCache), which costs a second forward pass: the loss still sees a process's
    whole part of the batch; 0 takes the part at once."""


@dataclass(frozen=True)
class ValidationSettings:
    """How often and how a run is validated, and when it stops early."""

    every_epochs: Count = 1
    """Validate after every so many epochs (and after the last)."""
    patience_epochs: CountOrZero = 0
    """Stop when the score has not improved for so many epochs; 0 never stops early."""


@dataclass(frozen=True)
class CheckpointSettings:
    """What a killed run can go on from."""

    every_epochs: Count = 1
    """Save after every so many epochs (and after the last)."""
    every_steps: CountOrZero = 0
    """Save after every so many steps too; 0 doesn't."""
    every_minutes: NonNegative = 0.0
    """Save when so many minutes have passed since the last time too; 0 doesn't."""
    keep: Count = 2
    """The newest so many checkpoints are kept."""


@dataclass(frozen=True)
class RunSettings:
    """What the training loop asks of a run's settings; pre-training and fine-tuning add their own."""

    out: Path = Path("runs/demo")
    """The run folder to write; it must not hold a run yet."""
    epochs: Count = 40
    """Times that the training split is gone through."""
    max_seconds: NonNegative = 0.0
    """Train for at most so many seconds, validations and checkpoints not counted; the learning rate ends its cosine
    with them. 0: no limit."""
    batch_size: int = 64
    """The global batch: items a step over all processes and accumulation steps."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Fixes the weights' initialisation, the order of the samples and the augmentations."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the networks; "auto" is bf16 where the device computes in it. Losses are float32 in any case."""
    threads: CountOrZero = 0
    """CPU threads of each training process; 0 shares the machine's cores out to its processes."""
    tracker: Annotated[str, OneOf(TRACKERS)] = "mlflow"
    """Where metrics go beside metrics.jsonl. MLflow needs no server: it writes mlflow.db beside the run folder."""
    timeout_minutes: Positive = 10.0
    """Minutes that a process waits for the others before it ends with an error, as when a machine has vanished."""
    log_every_steps: Count = 10
    """Steps between two training lines of metrics.jsonl."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)

    def check(self) -> None:
        """Checks what must hold between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.optimizer.restart_epochs and self.max_seconds:
            raise UserError(
                "optimizer.restart_epochs must be 0 with max_seconds, under which one cosine ends with the time, got "
                f"{self.optimizer.restart_epochs:g}"
            )


CHANGEABLE_ON_RESUME = frozenset(
    {"epochs", "max_seconds", "threads", "tracker", "log_every_steps", "timeout_minutes"}
    | {"checkpoint.every_epochs", "checkpoint.every_steps", "checkpoint.every_minutes", "checkpoint.keep"}
)
"""Settings that a resumed run may change; the number of processes is the launcher's."""
