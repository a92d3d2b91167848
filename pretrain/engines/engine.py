"""The interface between the training loop and the processes that train together, however they share weights."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pretrain.precision import autocast
from pretrain.settings.training import RunSettings


@dataclass(frozen=True)
class TrainingState:
    """All tensors that training resumes from, unsharded, whichever processes held them.

    Attributes:
        weights: parameters and buffers by name.
        optimizer: the optimiser's state by "parameter.entry", such as "head.weight.exp_avg".
    """

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


class Engine(abc.ABC):
    """A module and its optimiser, spread over the processes that were launched.

    Args:
        accelerator: the launched processes.
        module: the module to train, on the device; its `forward` takes one process's part of a batch and returns
            tensors by name.
        optimizer: optimiser over the module's parameters.
        settings: settings of the run.
        per_process: items per process in one forward pass.
    """

    accelerator: Accelerator
    module: nn.Module
    settings: RunSettings
    prepared: nn.Module

    @abc.abstractmethod
    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: RunSettings,
        *,
        per_process: int,
    ) -> None: ...

    def prepare(self) -> None:
        """Shares the gradients of the weights that are trained from now on; all processes call it together."""
        raise AssertionError("only data parallelism can train other weights in the middle of a run")

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns the module's outputs for this process's part of a batch, computed in the run's precision; float32."""
        with autocast(self.accelerator.device, self.settings.precision):
            outputs = self.prepared(batch)
        return {name: value.float() for name, value in outputs.items()}

    @abc.abstractmethod
    def part(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Context of the forward and backward pass of each part of a step; the last part reduces the gradients."""

    @abc.abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss` to those of the step."""

    @abc.abstractmethod
    def update(self, learning_rate: float) -> None:
        """Takes the step: clips the gradients if enabled, updates the weights, clears the gradients."""

    def whole_weights(self) -> AbstractContextManager[Any]:
        """Context in which every weight of the module is unsharded on every process.

        A weight may be read there, and changed, identically on every process, if the optimiser does not update it.
        """
        return nullcontext()

    @property
    @abc.abstractmethod
    def learning_rate(self) -> float:
        """The learning rate of the last step."""

    @abc.abstractmethod
    def whole_module(self) -> nn.Module:
        """Returns the module with all its weights, on every process, with the first process's buffers.

        Collective: all processes must call it. It may be the trained module itself: put it back into training mode.
        """

    @abc.abstractmethod
    def state(self) -> TrainingState:
        """Returns what training resumes from. Collective: all processes must call it."""

    @abc.abstractmethod
    def load_state(self, state: TrainingState) -> None:
        """Loads a state saved with any number of processes and any engine. Collective: all processes must call it.

        Raises:
            KeyError, ValueError, RuntimeError: the state belongs to another module.
        """

    @property
    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """`distributed_type`, and whatever else distinguishes this engine's setup from others."""
