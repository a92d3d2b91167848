"""The batch triplet loss of a large batch, tile by tile: memory grows with the batch, not with its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class HingeSums(NamedTuple):
    """What one pass over all pairs of an image and a sound gives; without gradients, the last three are None."""

    total: Tensor
    """Scalar: both sums of hinges."""
    active: Tensor | None
    """(n,): how many hinges of pair i, in its row and its column together, are above 0."""
    image_gradients: Tensor | None
    """(n, d): gradients by way of the mismatches' distances alone."""
    sound_gradients: Tensor | None
    """(n, d), likewise."""


Pass = Callable[[Tensor, Tensor, Tensor, bool], HingeSums]
"""Takes images (n, d), sounds (n, d), each pair's own distance plus the margin (n,), and whether gradients are due."""


def tiled_total(image_embeddings: Tensor, sound_embeddings: Tensor, margin: float) -> Tensor:
    """Both sums of `batch_triplet_loss` from tiles of the distance matrix, on any device.

    Args:
        image_embeddings: (n, d), float32 or float64; row i belongs with row i of the sounds.
        sound_embeddings: (n, d).
        margin: > 0, in units of distance.

    Returns:
        The loss under "sum", a scalar. It can be differentiated once.
    """
    return in_one_pass(image_embeddings, sound_embeddings, margin, tiled_sums)


def in_one_pass(image_embeddings: Tensor, sound_embeddings: Tensor, margin: float, sums: Pass) -> Tensor:
    """The loss under "sum" by a pass that yields value and gradients together."""
    with_gradients = torch.is_grad_enabled() and (image_embeddings.requires_grad or sound_embeddings.requires_grad)
    total: Tensor = _TotalInOnePass.apply(image_embeddings, sound_embeddings, margin, sums, with_gradients)
    return total


class _TotalInOnePass(torch.autograd.Function):
    """Keeps the gradients, 2 · n · d numbers, from the forward pass: no distance is computed a second time."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, sounds: Tensor, margin: float, sums: Pass, with_gradients: bool) -> Tensor:
        centre = (images.mean(0) + sounds.mean(0)) / 2
        images, sounds = images - centre, sounds - centre
        differences = images - sounds
        true = torch.linalg.vector_norm(differences, dim=1)
        total, active, image_gradients, sound_gradients = sums(images, sounds, true + margin, with_gradients)
        if active is not None and image_gradients is not None and sound_gradients is not None:
            # The derivative of a pair's own distance; 0 where its two embeddings coincide.
            pulls = differences.mul_(torch.where(true == 0, 0, active / true)[:, None])
            ctx.save_for_backward(image_gradients.add_(pulls), sound_gradients.sub_(pulls))
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        # Not torch's once_differentiable: it lets the gradient pass for a constant in a longer expression.
        if torch.is_grad_enabled():
            raise RuntimeError("the batch triplet loss of a large batch can be differentiated only once")
        image_gradients, sound_gradients = ctx.saved_tensors
        return outer * image_gradients, outer * sound_gradients, None, None, None


def tiled_sums(images: Tensor, sounds: Tensor, limits: Tensor, with_gradients: bool) -> HingeSums:
    """One pass in square tiles: matrix products, and operations in place on three tiles that are used over and over.

    Args:
        images: (n, d), near the origin.
        sounds: (n, d).
        limits: (n,), each pair's own distance plus the margin: a mismatch at or beyond it costs nothing.
        with_gradients: whether gradients are due.

    Returns:
        The sums, and with gradients all four fields.
    """
    n, dimensions = images.shape
    # Two more columns each, so that one product gives |x|² + |y|² − 2xy, and another the sums of weights.
    ones = images.new_ones(n, 1)
    left = torch.cat([-2 * images, images.square().sum(1, keepdim=True), ones], 1)
    right = torch.cat([sounds, ones, sounds.square().sum(1, keepdim=True)], 1)
    total, active = images.new_zeros(()), images.new_zeros(n)
    weighted_sounds, weighted_images = torch.zeros_like(left), torch.zeros_like(right)

    tile = min(n, TILE.get(images.device.type, TILE_ELSEWHERE))
    buffers = images.new_empty(3, tile * tile)
    for first in range(0, n, tile):
        rows = slice(first, first + tile)
        for start in range(0, n, tile):
            columns = slice(start, start + tile)
            shape = (len(limits[rows]), len(limits[columns]))
            distances, by_row, by_column = (buffer[: shape[0] * shape[1]].view(shape) for buffer in buffers)
            torch.mm(left[rows], right[columns].T, out=distances).clamp_(min=0).sqrt_()
            if first == start:
                distances.fill_diagonal_(torch.inf)  # a pair is no mismatch of itself
            torch.sub(limits[rows, None], distances, out=by_row).relu_()
            torch.sub(limits[None, columns], distances, out=by_column).relu_()
            total += by_row.sum() + by_column.sum()
            if not with_gradients:
                continue
            active[rows] += by_row.gt_(0).sum(1)
            active[columns] += by_column.gt_(0).sum(0)
            # Where two embeddings coincide the distance has no derivative: infinitely far, they weigh 0.
            torch.threshold_(distances, 0.0, torch.inf)
            weights = by_row.add_(by_column).div_(distances)
            weighted_sounds[rows].addmm_(weights, right[columns])
            weighted_images[columns].addmm_(weights.T, left[rows])
    if not with_gradients:
        return HingeSums(total, None, None, None)

    row_weights, column_weights = weighted_sounds[:, dimensions, None], weighted_images[:, dimensions + 1, None]
    return HingeSums(
        total,
        active,
        weighted_sounds[:, :dimensions] - row_weights * images,
        weighted_images[:, :dimensions] / -2 - column_weights * sounds,
    )


TILE = {"cpu": 1024}
"""Rows and columns of a tile, by device. Half as many fit a core's own cache, and are a little faster on idle cores;
but with four times the operations, threads wait four times as often for one that lost its core to a loader's worker."""
TILE_ELSEWHERE = 2048
