"""The learning rate as a function of the step, and which parameters decay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pretrain.engines.zero import ZeroEngine
from pretrain.optimization import build_optimizer, learning_rate_at, set_learning_rate
from pretrain.settings.rules import check_rules
from pretrain.settings.training import OptimizerSettings, RunSettings
from shards.errors import UserError


def rates(settings: OptimizerSettings, total: int = 100, per_epoch: int = 10) -> list[float]:
    return [
        learning_rate_at(step, total_steps=total, steps_per_epoch=per_epoch, settings=settings) for step in range(total)
    ]


def test_warms_up_then_falls_to_its_end() -> None:
    values = rates(OptimizerSettings(learning_rate=1.0, warmup_epochs=2, final_fraction=0.1))
    assert values[0] == pytest.approx(1 / 21)
    assert values[19] == pytest.approx(20 / 21)
    assert values[20] == max(values) == 1.0
    assert values[20:] == sorted(values[20:], reverse=True)
    assert values[-1] == pytest.approx(0.1, abs=0.001)
    # Half-way through the cosine lies half-way between the ends.
    assert values[60] == pytest.approx(0.55)


def test_no_warm_up_and_no_fall_is_constant() -> None:
    assert set(rates(OptimizerSettings(learning_rate=0.5, warmup_epochs=0, final_fraction=1.0))) == {0.5}


def test_a_warm_up_longer_than_the_run_still_rises() -> None:
    values = rates(OptimizerSettings(learning_rate=1.0, warmup_epochs=50))
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] <= 1


def test_only_matrices_and_kernels_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = build_optimizer(model, OptimizerSettings(name="adamw", weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(model[0].weight)] == 0.1
    assert [decay[id(p)] for p in (model[0].bias, model[1].weight, model[1].bias)] == [0.0, 0.0, 0.0]


def test_learning_rates_are_scaled_by_name() -> None:
    model = nn.ModuleDict({"trunk": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    settings = OptimizerSettings(name="adamw", weight_decay=0.1)
    optimizer = build_optimizer(model, settings, lambda name: 1.0 if name.startswith("head") else 0.25)
    set_learning_rate(optimizer, 0.4)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rate[id(p)] for p in model.parameters()] == pytest.approx([0.1, 0.1, 0.4, 0.4])
    assert optimizer.param_groups[0]["lr"] == 0.4
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0, 0.1, 0.0]


def test_the_cosine_follows_the_time_where_that_is_farther_on() -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_epochs=1)

    def rate(step: int, share_of_time: float) -> float:
        return learning_rate_at(
            step, total_steps=100, steps_per_epoch=10, settings=settings, share_of_time=share_of_time
        )

    assert rate(5, 0.9) == rate(5, 0)  # the warm-up is one of steps
    assert rate(10, 0.5) == pytest.approx(0.5)
    assert rate(55, 0.25) == pytest.approx(0.5)
    assert rate(20, 1.0) == 0


def test_the_cosine_starts_anew_and_its_periods_grow() -> None:
    settings = OptimizerSettings(
        name="sgd",
        learning_rate=1e-2,
        warmup_epochs=0,
        final_fraction=1e-3,
        restart_epochs=10,
        restart_growth=2,
    )
    values = rates(settings, total=150 * 4, per_epoch=4)
    # 10 + 20 + 40 + 80 epochs of 4 steps.
    begins = [0, 40, 120, 280]
    assert [step for step, value in enumerate(values) if value == 1e-2] == begins
    assert [step for step in range(1, 600) if values[step] > values[step - 1]] == begins[1:]
    for begin, length in zip(begins, (40, 80, 160, 320), strict=True):
        for place in (0, 1, length // 2, length - 1):
            cosine = (1 + math.cos(math.pi * place / length)) / 2
            assert values[begin + place] == pytest.approx(1e-5 + (1e-2 - 1e-5) * cosine)
    assert values[-1] == pytest.approx(1e-5, rel=0.03)


def test_restarts_come_after_the_warm_up_and_may_be_of_parts_of_an_epoch() -> None:
    values = rates(OptimizerSettings(learning_rate=1.0, warmup_epochs=2, restart_epochs=2.5), total=100)
    assert [step for step, value in enumerate(values) if value == 1.0] == [20, 45, 70, 95]


def test_sgd_has_momentum_and_decays_matrices_alone() -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, OptimizerSettings(name="sgd", momentum=0.7, weight_decay=0.1))
    assert isinstance(optimizer, torch.optim.SGD)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.7, 0.7]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"momentum": 1.0}, "optimizer.momentum must be in [0, 1), got 1.0"),
        ({"restart_growth": 0.5}, "optimizer.restart_growth must be >= 1, got 0.5"),
        ({"restart_epochs": -1.0}, "optimizer.restart_epochs must be >= 0, got -1.0"),
        ({"restart_epochs": 3.0}, "optimizer.restart_epochs must be 0 with max_seconds, which fits a single cosine"),
    ],
)
def test_rules_of_restarts(changes: dict[str, float], sentence: str) -> None:
    settings = RunSettings(optimizer=replace(OptimizerSettings(), **changes), max_seconds=60)
    with pytest.raises(UserError) as caught:
        check_rules(settings)
    assert str(caught.value).startswith(sentence)


def test_deepspeed_takes_no_sgd() -> None:
    settings = RunSettings(optimizer=OptimizerSettings(name="sgd"))
    module = nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"optimizer.name must be adam or adamw with DeepSpeed, .* got sgd"):
        ZeroEngine(Accelerator(), module, build_optimizer(module, settings.optimizer), settings, per_process=1)
