"""The interface of what the loop trains: module, batches, loss and evaluation."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.optimization import build_optimizer
from pretrain.settings.training import RunSettings

WholeWeights = Callable[[], AbstractContextManager[Any]]
"""Within it every weight of the module is whole on every process; it may be read, and changed alike on all of them."""


@dataclass(frozen=True)
class Evaluation:
    """How well a module does.

    Attributes:
        split: evaluated split, such as "val".
        scores: as written to `metrics.jsonl`; a value may be a dict of scores.
        error: what is to be small: the model with the smallest is kept; None where nothing may be chosen by it, and
            the last model is kept.
        sentence: the scores in a few words.
    """

    split: str
    scores: dict[str, Any]
    error: float | None
    sentence: str


class Task(abc.ABC):
    """Something to train; `pretrain.training.loop.Loop` trains it, on any number of processes."""

    settings: RunSettings
    module: nn.Module
    """What is trained: from one process's part of a batch to tensors by name."""
    steps_per_epoch: int
    per_process: int
    """Items per process and accumulation step."""

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser over the module's parameters."""
        return build_optimizer(self.module, self.settings.optimizer)

    @abc.abstractmethod
    def announcement(self) -> str:
        """What is about to be trained, for the beginning of a run."""

    @abc.abstractmethod
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        """This process's parts of the batches of steps [first_step, last_step), those of a step one after another.

        Each holds "keys", a list that names its items, and tensors with a row for each item.
        """

    @abc.abstractmethod
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The loss, a scalar, from the module's outputs for this process's part of a batch.

        It is over the global batch and the same on every process, which the functions of `pretrain.distributed`
        see to; the gradients of the processes are averaged.
        """

    def before_step(self, step: int) -> bool:  # noqa: ARG002  # most tasks have nothing to do
        """Called before each step, by its number from 0; a resumed run may begin with any.

        Returns:
            Whether other weights are trained from now on.
        """
        return False

    def after_step(self, whole_weights: WholeWeights) -> None:  # noqa: B027  # most tasks have nothing to do
        """Called when the weights have been moved, before the next batch."""

    def observe_batch(self, batch: Mapping[str, Any]) -> None:  # noqa: B027  # most tasks have nothing to see
        """Sees each batch as it comes from the loader."""

    @abc.abstractmethod
    def step_metrics(
        self, step: int, loss: float, outputs: dict[str, Tensor], *, first_loss: float | None
    ) -> tuple[dict[str, float], list[str]]:
        """Metrics of a logged step besides its loss, and messages for the user; all processes call it.

        Args:
            step: the step just taken.
            loss: its loss.
            outputs: of this process's last part of it.
            first_loss: the first loss of the run that was logged, None if this is it.
        """

    @abc.abstractmethod
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Evaluates `module`, which is the trained one or a copy of it; every process calls it together.

        Raises:
            FloatingPointError: its outputs are not finite.
        """

    @abc.abstractmethod
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes the best model so far into the run folder; the first process calls it."""

    def summary(self) -> dict[str, Any]:
        """Entries of `summary.json` besides the state of the loop."""
        return {}

    def files_to_keep(self) -> list[str]:
        """Files of the run folder that an experiment tracker keeps too."""
        return []
