"""The loss of a global batch on 2 gloo processes: value and gradients equal those of one process."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed as dist
from two_processes import on_two_processes

from pretrain.distributed import (
    from_first_on_machine,
    gather_objects,
    gather_with_gradient,
    num_processes,
    own_rows,
    rank,
)
from pretrain.losses.batch_triplet import batch_triplet_loss

PAIRS, DIM, FEATURES = 12, 5, 7


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of images and of sounds, and one weight matrix that embeds both."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, PAIRS, FEATURES, dtype=torch.float64, generator=generator)
    weights = torch.randn(FEATURES, DIM, dtype=torch.float64, generator=generator)
    return features[0], features[1], weights


def loss_and_gradients(first: int, last: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss of the global batch, its gradient in the weights, and in this process's own image features."""
    images, sounds, weights = inputs()
    images = images[first:last].requires_grad_()
    weights.requires_grad_()
    loss = batch_triplet_loss(
        gather_with_gradient(images @ weights), gather_with_gradient(sounds[first:last] @ weights)
    )
    by_weights, by_images = torch.autograd.grad(loss, (weights, images))
    return loss.detach(), by_weights, by_images


def one_of_two(process: int, folder: str) -> None:
    assert (num_processes(), rank()) == (2, process)
    assert gather_objects(f"from {process}") == ["from 0", "from 1"]
    os.environ["LOCAL_RANK"] = str(process)  # both on one machine
    assert from_first_on_machine(process) == 0
    os.environ["LOCAL_RANK"] = "0"  # each on its own
    assert from_first_on_machine(process) == process
    pixels = torch.full((2, 3), 7 + process, dtype=torch.uint8)
    gathered = gather_with_gradient(pixels)
    assert gathered.tolist() == [[7] * 3] * 2 + [[8] * 3] * 2
    assert torch.equal(own_rows(gathered), pixels)
    half = PAIRS // 2
    loss, by_weights, by_images = loss_and_gradients(process * half, (process + 1) * half)
    dist.all_reduce(by_weights)  # data-parallel training averages gradients
    torch.save([loss, by_weights / 2, by_images / 2], f"{folder}/{process}.pt")


def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    on_two_processes(one_of_two, tmp_path)
    loss, by_weights, by_images = loss_and_gradients(0, PAIRS)
    results = [torch.load(tmp_path / f"{process}.pt", weights_only=True) for process in (0, 1)]
    for result in results:
        torch.testing.assert_close(result[0], loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result[1], by_weights, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.cat([result[2] for result in results]), by_images, rtol=1e-10, atol=1e-12)


def test_one_process_gathers_itself() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_with_gradient(rows) is rows
    assert torch.equal(own_rows(rows), rows)
    assert gather_objects(7) == [7]
    assert from_first_on_machine(7) == 7
