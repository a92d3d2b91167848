"""The optimiser, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from pretrain.encoders.encoder import Encoder, checked_layers
from pretrain.settings.training import OptimizerSettings


def build_optimizer(
    model: nn.Module,
    settings: OptimizerSettings,
    lr_scale: Callable[[str], float] = lambda name: 1.0,
    *,
    with_frozen: bool = False,
) -> torch.optim.Optimizer:
    """Builds Adam, AdamW or SGD; vectors and scalars (biases, norms, temperatures) have no weight decay.

    Args:
        model: the model.
        settings: kind, learning rate and weight decay.
        lr_scale: maps a parameter's name to the factor of its learning rate.
        with_frozen: whether parameters that don't require gradients are included; they are moved once they have one.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad or with_frozen]
    # The largest factor comes first: a run logs the learning rate of the first group.
    scales = sorted({lr_scale(name) for name, _ in named}, reverse=True)
    groups = [
        {
            "params": [p for name, p in named if lr_scale(name) == scale and (p.ndim > 1) == decays],
            "weight_decay": settings.weight_decay if decays else 0.0,
            "lr_scale": scale,
        }
        for scale in scales
        for decays in (True, False)
    ]
    builders: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": partial(torch.optim.SGD, momentum=settings.momentum),
    }
    return builders[settings.name]([group for group in groups if group["params"]], lr=settings.learning_rate)


def layer_lr_scales(encoder: Encoder, decay: float) -> dict[str, float]:
    """The factor of the learning rate of each of an encoder's parameters, for layer-wise decay.

    Args:
        encoder: the encoder, which says which parameters belong to which layer.
        decay: factor from each layer to the one below it; the last layer has `decay` itself.

    Raises:
        UserError: the encoder does not state its layers.
        ValueError: a parameter belongs to no layer, or to several.
    """
    layers = reversed(checked_layers(encoder))
    return {name: decay**depth for depth, layer in enumerate(layers, start=1) for name in layer}


def learning_rate_at(
    step: int, *, total_steps: int, steps_per_epoch: int, settings: OptimizerSettings, share_of_time: float = 0.0
) -> float:
    """Returns the learning rate of step `step`, from 0: a linear warm-up, then a cosine to `final_fraction`.

    With `settings.restart_epochs` the cosine restarts after that many epochs, and each one lasts `restart_growth` times
    as long as the one before (SGDR, Loshchilov and Hutter, ICLR 2017: their T_0 and T_mult). The result depends only
    on the arguments, so a resumed run needs no schedule state.

    Args:
        step: the step to be taken.
        total_steps: number of steps of the run.
        steps_per_epoch: number of steps per epoch, the unit of the warm-up.
        settings: learning rate, warm-up and final fraction.
        share_of_time: for a run limited by time, the fraction of the time that has passed, in [0, 1].
    """
    warmup_steps = min(round(settings.warmup_epochs * steps_per_epoch), total_steps - 1)
    if step < warmup_steps:
        return settings.learning_rate * (step + 1) / (warmup_steps + 1)
    begin, length = 0.0, float(total_steps - warmup_steps)
    if settings.restart_epochs:
        begin, length = _current_cosine(step - warmup_steps, settings.restart_epochs * steps_per_epoch, settings)
    progress = max((step - warmup_steps - begin) / max(1.0, length), share_of_time)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return settings.learning_rate * (settings.final_fraction + (1 - settings.final_fraction) * cosine)


def _current_cosine(step: int, first: float, settings: OptimizerSettings) -> tuple[float, float]:
    """Returns the first step of the cosine that a step belongs to, and the number of steps it lasts."""
    begin, length = 0.0, first
    while step >= begin + length:
        begin, length = begin + length, length * settings.restart_growth
    return begin, length


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of every parameter group, times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)
