"""What the training loop asks of the processes that train together, however they share the weights."""

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
    """All tensors that training continues from, whole, whichever processes held them.

    Attributes:
        weights: parameters and buffers by name.
        optimizer: the optimiser's state by "parameter.entry", such as "head.weight.exp_avg".
    """

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


class Engine(abc.ABC):
    """A module and its optimiser, spread over the processes that were launched.

    Args:
        accelerator: the processes.
        module: what is trained, on the device; its `forward` takes one process's part of a batch and returns
            tensors by name.
        optimizer: over the module's parameters.
        settings: of the run.
        per_process: items that one process takes at once.
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

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The module's outputs for this process's part of a batch, in the run's precision; float32."""
        with autocast(self.accelerator.device, self.settings.precision):
            outputs = self.prepared(batch)
        return {name: value.float() for name, value in outputs.items()}

    @abc.abstractmethod
    def part(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Entered around the forward and backward pass of each part of a step; the last one shares the gradients."""

    @abc.abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss` to those of the step."""

    @abc.abstractmethod
    def update(self, learning_rate: float) -> None:
        """Takes the step: clips the gradients where it is set, moves the weights, clears the gradients."""

    def whole_weights(self) -> AbstractContextManager[Any]:
        """Within it every weight of the module is whole on every process.

        It may be read there, and changed alike on every process where the optimiser does not move it.
        """
        return nullcontext()

    @property
    @abc.abstractmethod
    def learning_rate(self) -> float:
        """The learning rate of the last step."""

    @abc.abstractmethod
    def whole_module(self) -> nn.Module:
        """The module with all of its weights, on every process, with the first process's buffers.

        Every process calls it together. It may be the module that is trained: put it back into training mode.
        """

    @abc.abstractmethod
    def state(self) -> TrainingState:
        """What training continues from; every process calls it together."""

    @abc.abstractmethod
    def load_state(self, state: TrainingState) -> None:
        """Takes up a state, of whatever number of processes and kind of engine; every process calls it together.

        Raises:
            KeyError, ValueError, RuntimeError: it is of another module.
        """

    @property
    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """`distributed_type`, and what else tells this engine's world from others."""
