"""The learning rate as a function of the step, and which parameters decay."""

from __future__ import annotations

import pytest
from torch import nn

from pretrain.optimization import build_optimizer, learning_rate_at, set_learning_rate
from pretrain.run_settings import OptimizerSettings


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
