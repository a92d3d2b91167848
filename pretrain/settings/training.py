"""Settings of every training run: length, optimiser, validation, checkpoints."""

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
    """The optimiser and its schedule."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam, Adam with decoupled weight decay, or stochastic gradient descent."""
    learning_rate: Positive = 1e-3
    """The learning rate after warm-up."""
    weight_decay: NonNegative = 0.0
    """Weight decay of matrices and kernels; norms and biases have none."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd; ignored by the others."""
    warmup_epochs: NonNegative = 1.0
    """Epochs over which the learning rate rises linearly from 0."""
    final_fraction: Fraction = 0.0
    """Final value of the cosine schedule, as a fraction of the learning rate; 1 keeps it constant."""
    restart_epochs: NonNegative = 0.0
    """Length of the first cosine cycle in epochs, after which it restarts (SGDR); 0: one cosine over the run."""
    restart_growth: Annotated[float, Field(ge=1)] = 1.0
    """Ratio of the lengths of successive cosine cycles."""
    max_gradient_norm: NonNegative = 0.0
    """Gradients are clipped to this global norm; 0 does not clip."""
    accumulation: Count = 1
    """Gradient accumulation steps per global batch; negatives come from the same accumulation step."""
    chunk_size: CountOrZero = 0
    """Chunk size for gradient caching (GradCache), which saves memory and costs a second forward pass; the loss still
    sees the whole batch. 0: off."""


@dataclass(frozen=True)
class ValidationSettings:
    """Validation and early stopping."""

    every_epochs: Count = 1
    """Epochs between validations; the last epoch is always validated."""
    patience_epochs: CountOrZero = 0
    """Stop after this number of epochs without improvement; 0 never stops early."""


@dataclass(frozen=True)
class CheckpointSettings:
    """Checkpoints, from which a run resumes."""

    every_epochs: Count = 1
    """Epochs between checkpoints; one is always saved after the last."""
    every_steps: CountOrZero = 0
    """Also save after this number of steps; 0: off."""
    every_minutes: NonNegative = 0.0
    """Also save when this number of minutes has passed since the last checkpoint; 0: off."""
    keep: Count = 2
    """Number of checkpoints to keep."""


@dataclass(frozen=True)
class RunSettings:
    """Settings that the training loop needs; pre-training and fine-tuning add their own."""

    out: Path = Path("runs/demo")
    """The run folder to write; it must not contain a run yet."""
    epochs: Count = 40
    """Number of passes over the training split."""
    max_seconds: NonNegative = 0.0
    """Stop after this number of seconds, counting training steps and the features of frozen encoders, not validations
    and checkpoints; the learning-rate schedule is fitted to it. 0: no limit."""
    batch_size: int = 64
    """Global batch size: items per step over all processes and accumulation steps."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the initial weights, the order of the samples and the augmentations."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the networks; "auto" is bf16 where the device supports it. Losses are always computed in float32."""
    threads: CountOrZero = 0
    """CPU threads per training process; 0 divides the machine's cores among its processes."""
    tracker: Annotated[str, OneOf(TRACKERS)] = "mlflow"
    """Experiment tracker, in addition to metrics.jsonl. MLflow needs no server: it writes mlflow.db beside the run
    folder."""
    timeout_minutes: Positive = 10.0
    """Minutes that a process waits for the others, such as after a machine failed, before it ends with an error."""
    log_every_steps: Count = 10
    """Steps between training lines of metrics.jsonl."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.optimizer.restart_epochs and self.max_seconds:
            raise UserError(
                "optimizer.restart_epochs must be 0 with max_seconds, which fits a single cosine to the time, got "
                f"{self.optimizer.restart_epochs:g}"
            )


CHANGEABLE_ON_RESUME = frozenset(
    {"epochs", "max_seconds", "threads", "tracker", "log_every_steps", "timeout_minutes"}
    | {"checkpoint.every_epochs", "checkpoint.every_steps", "checkpoint.every_minutes", "checkpoint.keep"}
)
"""Settings that a resumed run may change; the number of processes is the launcher's."""
