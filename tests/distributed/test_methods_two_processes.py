"""Methods on images alone on 2 processes beside 1: value and gradients of their losses, and whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from commands import CONSTANT_RATE, SMALL, run, torchrun
from safetensors.torch import load_file
from torch import Tensor

from pretrain.distributed import gather_with_gradient
from pretrain.losses.contrastive import contrastive_loss
from pretrain.losses.nt_xent import nt_xent_loss
from pretrain.losses.tile2vec import random_far_tiles, tile2vec_loss
from pretrain.metrics_file import MetricsFile

IMAGES, DIM, FEATURES = 12, 5, 7


def far_loss(anchors: Tensor, nears: Tensor) -> Tensor:
    places = torch.nn.functional.normalize(torch.randn(IMAGES, 3, generator=torch.Generator().manual_seed(1)))
    fars, kept = random_far_tiles(torch.tensor(4), places, 1.5)
    assert 0 < kept.sum() <= IMAGES
    return tile2vec_loss(anchors[kept], nears[kept], anchors[fars[kept]], 3.0, 0.1)


LOSSES = {
    "image-contrastive": lambda first, second: contrastive_loss(first, second, 0.2, "both"),
    "simclr": nt_xent_loss,
    "tile2vec": far_loss,
}


def loss_and_gradients(method: str, first: int, last: int) -> list[Tensor]:
    """Loss of the global batch, its gradient in the weights, and in this process's own features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, IMAGES, FEATURES, dtype=torch.float64, generator=generator)
    weights = torch.randn(FEATURES, DIM, dtype=torch.float64, generator=generator).requires_grad_()
    features = features[:, first:last].requires_grad_()
    loss = LOSSES[method](*(gather_with_gradient(part @ weights) for part in features))
    return [loss.detach(), *torch.autograd.grad(loss, (weights, features))]


def one_of_two(process: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=process, world_size=2)
    half = IMAGES // 2
    for method in LOSSES:
        loss, by_weights, by_features = loss_and_gradients(method, process * half, (process + 1) * half)
        dist.all_reduce(by_weights)  # data-parallel training averages gradients
        torch.save([loss, by_weights / 2, by_features / 2], f"{folder}/{method}-{process}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_losses_and_gradients_of_one(tmp_path: Path) -> None:
    mp.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    for method in LOSSES:
        loss, by_weights, by_features = loss_and_gradients(method, 0, IMAGES)
        results = [torch.load(tmp_path / f"{method}-{process}.pt", weights_only=True) for process in (0, 1)]
        for result in results:
            torch.testing.assert_close(result[0], loss, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(result[1], by_weights, rtol=1e-10, atol=1e-12)
        found = torch.cat([result[2] for result in results], dim=1)
        torch.testing.assert_close(found, by_features, rtol=1e-10, atol=1e-12)


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
    words = ["demo", "--shards", tiny_shards, *SMALL, *CONSTANT_RATE, "--method", method, "--epochs", "2"]
    words += ["--model.norm", "group", "--log-every-steps", "1", "--seed", "3", "--checkpoint.every-epochs", "1"]
    kinds = [word for word in more if "far" in word or word == "3000"]
    one, two = tmp_path / "one", tmp_path / "two"
    for command in (torchrun(1, *words, *kinds, "--out", one), torchrun(2, *words, *more, "--out", two)):
        result = run(command, cwd=tmp_path, ACCELERATE_USE_CPU="true")
        assert result.returncode == 0, result.stderr
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
