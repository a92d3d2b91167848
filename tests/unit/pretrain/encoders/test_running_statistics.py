"""Encoders that start from random weights can be evaluated after any number of steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pretrain.encoders.building import build_encoder, synced
from pretrain.encoders.running_statistics import TORCH_MOMENTUM, average_at_first, averages_at_first


def batches(number: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(16, 3, 4, 4, generator=generator) * 3 + 5 for _ in range(number)]


def norm(momentum: float = 0.01) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(3, momentum=momentum)
    average_at_first(module)
    return module


@pytest.mark.parametrize("number", [1, 2, 7, 10])
def test_the_first_statistics_are_averages(number: int) -> None:
    module = norm()
    for batch in batches(number):
        module(batch)
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches(number)])
    variances = torch.stack([batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches(number)])
    torch.testing.assert_close(module.running_mean, means.mean(dim=0))
    torch.testing.assert_close(module.running_var, variances.mean(dim=0))


@pytest.mark.parametrize(("momentum", "later"), [(0.01, TORCH_MOMENTUM), (0.1, 0.1), (0.3, 0.3)])
def test_later_they_are_a_moving_average(momentum: float, later: float) -> None:
    module = norm(momentum)
    expected = torch.zeros(3)
    for number, batch in enumerate(batches(30), start=1):
        module(batch)
        expected = expected + max(later, 1 / number) * (batch.mean(dim=(0, 2, 3)) - expected)
    torch.testing.assert_close(module.running_mean, expected)
    assert module.momentum == later


def test_evaluation_is_no_batch_and_a_checkpoint_continues_the_count() -> None:
    module, uninterrupted = norm(), norm()
    for batch in batches(3):
        module.train()(batch)
        module.eval()(batch)
        uninterrupted(batch)
    resumed = norm()
    resumed.load_state_dict(module.state_dict())
    copied = copy.deepcopy(module).train()
    for continued in (resumed, copied, uninterrupted):
        continued(batches(4)[3])
    assert torch.equal(resumed.running_var, uninterrupted.running_var)
    assert torch.equal(copied.running_var, uninterrupted.running_var)


@pytest.mark.parametrize("name", ["resnet18", "mn04", "timm:mobilenetv3_small_050"])
@pytest.mark.parametrize("steps", [1, 5, 60])
def test_inputs_are_told_apart_after_any_number_of_steps(name: str, steps: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, channels=1, input_size=(128, 64))
    average_at_first(encoder)
    inputs = torch.randn(8, 1, 128, 64) + 2
    with torch.no_grad():
        for _ in range(steps):
            in_training = encoder.train()(inputs)
        evaluated = encoder.eval()(inputs)
    assert evaluated.std(dim=0).mean() > 0.5 * in_training.std(dim=0).mean()


@pytest.mark.parametrize("name", ["resnet18", "timm:mobilenetv3_small_050"])
def test_synchronised_norms_begin_with_averages_too(name: str) -> None:
    encoder = build_encoder(name, channels=3, input_size=(64, 64))
    assert not averages_at_first(synced(encoder))
    average_at_first(encoder)
    norms = [module for module in synced(encoder).modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms
    assert all(averages_at_first(module) for module in norms)
