"""Running statistics of batch norm: averages from the first step on, or those that pre-trained weights came with."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

TORCH_MOMENTUM = 0.1
"""Share of a batch in the running statistics of batch norm, torch's default."""


MARK = "averages_at_first"
"""Attribute of batch norms that `average_at_first` was applied to."""


class AverageAtFirst:
    """Makes running statistics the plain average of the first 1 / momentum batches, and a moving average after them.

    They start at mean 0 and variance 1, which no batch had, and keep the share (1 - momentum)^n of it after n steps.
    In a deep network the errors of all layers multiply.

    It is a forward pre-hook. A copied module has a count of its own, which begins with the `num_batches_tracked` of its
    checkpoint.
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._num_batches: int | None = None

    def __call__(self, module: nn.Module, _inputs: Any) -> None:
        """Sets the module's momentum for the next batch."""
        assert isinstance(module, _BatchNorm)
        if not module.training or not isinstance(module.num_batches_tracked, Tensor):
            return
        if self._num_batches is None:
            self._num_batches = int(module.num_batches_tracked)  # once, since it waits for a GPU
        self._num_batches += 1
        module.momentum = max(self._momentum, 1 / self._num_batches)


def average_at_first(module: nn.Module) -> None:
    """Lets the running statistics of all batch norms of a module with random weights begin with averages.

    Later, they follow the batches at least as fast as by torch's default: networks with TensorFlow's settings
    (MobileNetV3, EfficientAT) keep 99 % of them at each step, and are made to be trained for a million.
    """
    for child in module.modules():
        if isinstance(child, _BatchNorm) and child.momentum is not None:
            child.momentum = max(child.momentum, TORCH_MOMENTUM)
            child.register_forward_pre_hook(AverageAtFirst(child.momentum))
            setattr(child, MARK, True)


def keep_statistics(module: nn.Module) -> None:
    """Puts all batch norms of a module into evaluation mode, until `train` is called on it again."""
    for child in module.modules():
        if isinstance(child, _BatchNorm):
            child.eval()


def averages_at_first(module: nn.Module) -> bool:
    """Whether `average_at_first` was applied to a module."""
    return any(getattr(child, MARK, False) for child in module.modules())
