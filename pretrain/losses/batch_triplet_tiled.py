"""The batch triplet loss in tiles, for large batches: memory grows linearly with the batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class HingeSums(NamedTuple):
    """Result of one pass over all pairs of an image and a sound; without gradients the last three are None."""

    total: Tensor
    """Scalar: both sums of hinges."""
    active: Tensor | None
    """(n,): number of positive hinges in row i and column i."""
    image_gradients: Tensor | None
    """(n, d): gradients through the distances of mismatches only."""
    sound_gradients: Tensor | None
    """(n, d): the same for the sounds."""


Pass = Callable[[Tensor, Tensor, Tensor, bool], HingeSums]
"""Takes images (n, d), sounds (n, d), each pair's distance plus the margin (n,), and whether gradients are needed."""


def tiled_total(image_embeddings: Tensor, sound_embeddings: Tensor, margin: float) -> Tensor:
    """Both sums of `batch_triplet_loss` from tiles of the distance matrix, on any device.

    Args:
        image_embeddings: (n, d), float32 or float64; row i is paired with row i of the sounds.
        sound_embeddings: (n, d).
        margin: > 0, in units of distance.

    Returns:
        The loss under "sum", a scalar. It is differentiable once.
    """
    return in_one_pass(image_embeddings, sound_embeddings, margin, tiled_sums)


def in_one_pass(image_embeddings: Tensor, sound_embeddings: Tensor, margin: float, sums: Pass) -> Tensor:
    """The loss with reduction "sum", from a pass that computes value and gradients together."""
    with_gradients = torch.is_grad_enabled() and (image_embeddings.requires_grad or sound_embeddings.requires_grad)
    total: Tensor = _TotalInOnePass.apply(image_embeddings, sound_embeddings, margin, sums, with_gradients)
    return total


class _TotalInOnePass(torch.autograd.Function):
    """Stores the gradients (2 · n · d numbers) in the forward pass, so that no distance is computed twice."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, sounds: Tensor, margin: float, sums: Pass, with_gradients: bool) -> Tensor:
        centre = (images.mean(0) + sounds.mean(0)) / 2
        images, sounds = images - centre, sounds - centre
        differences = images - sounds
        true = torch.linalg.vector_norm(differences, dim=1)
        total, active, image_gradients, sound_gradients = sums(images, sounds, true + margin, with_gradients)
        if active is not None and image_gradients is not None and sound_gradients is not None:
            # Derivative of the pair's distance; 0 where its two embeddings coincide.
            pulls = differences.mul_(torch.where(true == 0, 0, active / true)[:, None])
            ctx.save_for_backward(image_gradients.add_(pulls), sound_gradients.sub_(pulls))
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        # Not torch's once_differentiable: within a longer expression it treats the gradient as a constant.
        if torch.is_grad_enabled():
            raise RuntimeError("the batch triplet loss of a large batch can be differentiated only once")
        image_gradients, sound_gradients = ctx.saved_tensors
        return outer * image_gradients, outer * sound_gradients, None, None, None


def tiled_sums(images: Tensor, sounds: Tensor, limits: Tensor, with_gradients: bool) -> HingeSums:
    """One pass in square tiles: matrix products, and in-place operations on three reused buffers.

    Args:
        images: (n, d), near the origin.
        sounds: (n, d).
        limits: (n,), each pair's distance plus the margin; a mismatch at or beyond it costs nothing.
        with_gradients: whether gradients are needed.

    Returns:
        The sums, and with gradients all four fields.
    """
    n, dimensions = images.shape
    # Two extra columns each: one product then gives |x|² + |y|² − 2xy, another the sums of weights.
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
                distances.fill_diagonal_(torch.inf)  # the diagonal holds the pairs themselves
            torch.sub(limits[rows, None], distances, out=by_row).relu_()
            torch.sub(limits[None, columns], distances, out=by_column).relu_()
            total += by_row.sum() + by_column.sum()
            if not with_gradients:
                continue
            active[rows] += by_row.gt_(0).sum(1)
            active[columns] += by_column.gt_(0).sum(0)
            # Where two embeddings coincide the distance has no derivative; setting it to infinity gives weight 0.
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
"""Tile size by device. Half of it fits a core's own cache and is slightly faster on idle cores, but needs four times as
many operations, and threads then wait four times as often for one whose core is taken by a loader worker."""
TILE_ELSEWHERE = 2048
