"""Every registered loss on the device against the CPU, in the sizes of a batch and of a tiled one."""

from __future__ import annotations

from typing import Any

import torch
from gpu.closeness import in_full_float32, require_close
from gpu.items import Place
from gpu.kernel_checks import embeddings
from torch import Tensor
from torch.nn import functional as F

from pretrain.losses import LOSSES
from pretrain.losses.pair_loss import PairLoss

SIZES, SMALL_SIZES = (64, 3000), (16,)
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-3
DIMENSIONS = 128


def every_loss_equals_the_cpu(place: Place) -> dict[str, Any]:
    """Value and gradients of each loss with its default settings, in float32 against float64 on the CPU.

    Raises:
        AssertionError: one differs.
    """
    in_full_float32()
    worst: dict[str, Any] = {}
    for name in LOSSES:
        found = []
        for n in SIZES if place.is_gpu else SMALL_SIZES:
            pair, loss = embeddings(n, DIMENSIONS, "cpu"), LOSSES.load(name)().build(DIMENSIONS)
            if loss.on_sphere:
                pair = [F.normalize(rows, dim=1) for rows in pair]
            exact = value_and_gradients(loss, [rows.double() for rows in pair])
            fresh = LOSSES.load(name)().build(DIMENSIONS).to(place.device)  # a queue or a counter has not moved
            ours = value_and_gradients(fresh, [rows.to(place.device) for rows in pair])
            found.append(require_close(f"{name}, n = {n}", ours[0], exact[0], VALUE_TOLERANCE))
            for one, other in zip(ours[1:], exact[1:], strict=True):
                found.append(require_close(f"gradient of {name}, n = {n}", one, other, GRADIENT_TOLERANCE))
        worst[name] = max(found)
    return worst


def value_and_gradients(loss: PairLoss, pair: list[Tensor]) -> tuple[Tensor, ...]:
    """The loss, its gradient at images and sounds, and at its own parameters."""
    leaves = [rows.requires_grad_() for rows in pair]
    value = loss(*leaves)
    return value.detach(), *torch.autograd.grad(value, [*leaves, *loss.parameters()])
