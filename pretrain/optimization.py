"""The optimiser, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from pretrain.run_settings import OptimizerSettings


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Adam or AdamW; vectors and scalars (biases, norms, temperatures) have no weight decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    build = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return build([group for group in groups if group["params"]], lr=settings.learning_rate)


def learning_rate_at(step: int, *, total_steps: int, steps_per_epoch: int, settings: OptimizerSettings) -> float:
    """The learning rate of step `step`, from 0: a linear warm-up, then a cosine to `final_fraction`.

    It is a function of the step alone, so a resumed run needs no schedule state.
    """
    warmup_steps = min(round(settings.warmup_epochs * steps_per_epoch), total_steps - 1)
    if step < warmup_steps:
        return settings.learning_rate * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return settings.learning_rate * (settings.final_fraction + (1 - settings.final_fraction) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
