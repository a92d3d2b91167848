"""2 processes beside 1: value and gradients of every loss, and whole runs of the methods on images alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from commands import CONSTANT_RATE, SMALL_INPUTS, python, run, run_together
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from two_processes import on_two_processes

from pretrain.distributed import gather_with_gradient
from pretrain.losses.batch_triplet import BatchTripletLoss
from pretrain.losses.contrastive import ContrastiveLoss, SigmoidLoss, SymmetricContrastiveLoss
from pretrain.losses.momentum_contrast import MomentumContrastLoss
from pretrain.losses.naive_triplet import NaiveTripletLoss
from pretrain.losses.nt_xent import nt_xent_loss
from pretrain.losses.tile2vec import random_far_tiles, tile2vec_loss
from pretrain.training.metrics_file import MetricsFile

IMAGES, DIM, FEATURES = 12, 5, 7


class OnFunction(nn.Module):
    """A loss without weights of its own, as a module."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.function(first, second)


class WithQueueAndPlaces(nn.Module):
    """The symmetric contrastive loss of a second batch, after a first one, some of whose pairs lie nearby."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = SymmetricContrastiveLoss(0.2, queue_size=7, negatives_from_km=5000, embedding_dim=DIM)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        places = F.normalize(torch.randn(2, IMAGES, 3, generator=torch.Generator().manual_seed(1)), dim=2)
        numbers = torch.arange(IMAGES)
        self.loss(second.detach(), first.detach(), identity=numbers, place=places[0])
        loss: Tensor = self.loss(first, second, identity=numbers + IMAGES // 2, place=places[1])
        return loss


class AfterOneBatch(MomentumContrastLoss):
    """MoCo's loss with a queue that holds a first batch."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        self.enqueue(first.detach())
        return super().forward(first, second.detach())


def far_loss(anchors: Tensor, nears: Tensor) -> Tensor:
    places = F.normalize(torch.randn(IMAGES, 3, generator=torch.Generator().manual_seed(1)), dim=1)
    fars, kept = random_far_tiles(torch.tensor(4), places, 1.9)
    assert 0 < kept.sum() < IMAGES
    return tile2vec_loss(anchors[kept], nears[kept], anchors[fars[kept]], 3.0, 0.1)


LOSSES: dict[str, Callable[[], nn.Module]] = {
    "batch-triplet": lambda: BatchTripletLoss(),
    "naive-triplet": lambda: NaiveTripletLoss(),
    "contrastive": lambda: ContrastiveLoss(0.2, "image_to_sound"),
    "symmetric-contrastive": lambda: SymmetricContrastiveLoss(0.2),
    "queue and places": WithQueueAndPlaces,
    "sigmoid": lambda: SigmoidLoss(),
    "image-contrastive": lambda: ContrastiveLoss(0.2, "both"),
    "simclr": lambda: OnFunction(nt_xent_loss),
    "moco": lambda: AfterOneBatch(20, DIM, 0.2),
    "tile2vec": lambda: OnFunction(far_loss),
}


def loss_and_gradients(method: str, first: int, last: int) -> list[Tensor]:
    """Loss of the global batch, its gradient in all weights, and in this process's own features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, IMAGES, FEATURES, dtype=torch.float64, generator=generator)
    weights = torch.randn(FEATURES, DIM, dtype=torch.float64, generator=generator).requires_grad_()
    features = features[:, first:last].requires_grad_()
    module = LOSSES[method]().double()
    loss = module(*(gather_with_gradient(part @ weights) for part in features))
    # A loss has its own weights on every process, and each of them finds the whole gradient.
    of_its_own = torch.cat([features.new_zeros(0), *(g.flatten() for g in own_gradients(module, loss))])
    return [loss.detach(), of_its_own, *torch.autograd.grad(loss, (weights, features))]


def own_gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    parameters = list(module.parameters())
    return list(torch.autograd.grad(loss, parameters, retain_graph=True)) if parameters else []


def one_of_two(process: int, folder: str) -> None:
    half = IMAGES // 2
    for method in LOSSES:
        results = loss_and_gradients(method, process * half, (process + 1) * half)
        for gradient in results[1:3]:
            dist.all_reduce(gradient)  # data-parallel training averages gradients
        torch.save([results[0], *(gradient / 2 for gradient in results[1:])], f"{folder}/{method}-{process}.pt")


def test_two_processes_have_the_losses_and_gradients_of_one(tmp_path: Path) -> None:
    on_two_processes(one_of_two, tmp_path)
    for method in LOSSES:
        expected = loss_and_gradients(method, 0, IMAGES)
        results = [torch.load(tmp_path / f"{method}-{process}.pt", weights_only=True) for process in (0, 1)]
        for result in results:
            for found, right in zip(result[:3], expected[:3], strict=True):
                torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12, msg=method)
        found = torch.cat([result[3] for result in results], dim=1)
        torch.testing.assert_close(found, expected[3], rtol=1e-10, atol=1e-12, msg=method)


def losses(run_folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(run_folder).read() if line["split"] == "train"]


def weights_after(run_folder: Path, step: int) -> dict[str, Tensor]:
    return load_file(run_folder / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("image-contrastive", []),
        ("simclr", ["--optimizer.chunk-size", "3"]),
        ("tile2vec", []),
        ("tile2vec", ["--tile2vec.far-km", "3000", "--optimizer.chunk-size", "5"]),
    ],
)
def test_two_processes_train_as_one(method: str, more: list[str], tiny_shards: Path, tmp_path: Path) -> None:
    # 2 processes of 8 images each, in chunks where asked for, beside 1 process that takes all 16 at once.
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *CONSTANT_RATE, "--method", method, "--epochs", "2"]
    words += ["--model.norm", "group", "--log-every-steps", "1", "--seed", "3", "--checkpoint.every-epochs", "1"]
    kinds = [word for word in more if "far" in word or word == "3000"]
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run(python("pretrain/run.py", *words, *kinds, "--out", one), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    command = python("pretrain/run.py", *words, *more, "--out", two)
    together = run_together(command, cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert together.returncode == 0, together.stderr
    assert [json.loads((folder / "summary.json").read_text())["num_processes"] for folder in (one, two)] == [1, 2]
    assert len(losses(one)) == 6
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    begun, ended, beside = weights_after(one, 3), weights_after(one, 6), weights_after(two, 6)
    assert set(beside) == set(ended)
    # The weights part by a small share of the way that they went; counts are equal.
    name = "towers.image_tower.trunk.layer1.0.conv1.weight"
    way = (ended[name] - begun[name]).norm()
    assert way > 0
    assert (beside[name] - ended[name]).norm() < 0.2 * way
    for name, value in ended.items():
        if not value.is_floating_point() or "sound_tower" in name:
            assert torch.equal(beside[name], value), name
