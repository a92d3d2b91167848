"""The batch triplet loss as a fused kernel: distances, hinges and gradients of a tile never leave the chip.

The kernel was compiled for compute capabilities 8.0 and 9.0 and checked against the tiled form by Triton's interpreter
on the CPU only; it has not been run or timed on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pretrain.losses.batch_triplet_tiled import HingeSums, in_one_pass

MOST_DIMENSIONS = 256
"""Beyond it, a block's embeddings and their gradients do not fit into the registers."""
OLDEST_CAPABILITY = (8, 0)


def is_fit(embeddings: Tensor, dtype: torch.dtype) -> bool:
    """Whether the kernel supports embeddings (n, d) of type `dtype` on their GPU; the tiled form supports all."""
    return (
        dtype == torch.float32
        and embeddings.shape[1] <= MOST_DIMENSIONS
        and torch.version.hip is None
        and torch.cuda.get_device_capability(embeddings.device) >= OLDEST_CAPABILITY
    )


def block_shape(dimensions: int) -> tuple[int, int, int]:
    """Rows, columns and padded dimensions of a block: the largest that the compiler holds in registers."""
    padded = max(16, triton.next_power_of_2(dimensions))
    return (64, 32, padded) if padded <= 128 else (32, 16, padded)


def fused_total(image_embeddings: Tensor, sound_embeddings: Tensor, margin: float) -> Tensor:
    """Both sums of `batch_triplet_loss` by the fused kernel; deterministic.

    Args:
        image_embeddings: (n, d), float32, d ≤ 256; row i is paired with row i of the sounds.
        sound_embeddings: (n, d).
        margin: > 0, in units of distance.

    Returns:
        The loss under "sum", a scalar. It is differentiable once.
    """
    return in_one_pass(image_embeddings, sound_embeddings, margin, fused_sums)


def fused_sums(images: Tensor, sounds: Tensor, limits: Tensor, with_gradients: bool) -> HingeSums:
    """One pass over the rows of the distance matrix and one over its columns, by the same kernel with swapped
    arguments.

    No two programs write to the same address, so there are no atomic additions whose order would change the result.

    Args:
        images: (n, d), near the origin.
        sounds: (n, d).
        limits: (n,), each pair's distance plus the margin.
        with_gradients: whether gradients are needed.

    Returns:
        The sums, and with gradients all four fields.
    """
    image_hinges, image_active, image_gradients = _one_side(images, sounds, limits, with_gradients)
    sound_hinges, sound_active, sound_gradients = _one_side(sounds, images, limits, with_gradients)
    total = (image_hinges + sound_hinges).sum()
    if not with_gradients:
        return HingeSums(total, None, None, None)
    return HingeSums(total, image_active + sound_active, image_gradients, sound_gradients)


def _one_side(own: Tensor, others: Tensor, limits: Tensor, with_gradients: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of `own`: sum of hinges (n,), number of positive hinges (n,), gradient (n, d)."""
    n, dimensions = own.shape
    rows_per_block, columns_per_block, padded_dimensions = block_shape(dimensions)
    own, others = own.contiguous(), others.contiguous()
    hinges, active = own.new_empty(n), own.new_empty(n if with_gradients else 0)
    gradients = torch.empty_like(own) if with_gradients else own.new_empty(0)
    _one_side_kernel[(triton.cdiv(n, rows_per_block),)](
        own,
        others,
        limits,
        hinges,
        active,
        gradients,
        n,
        dimensions,
        padded_dimensions,
        rows_per_block,
        columns_per_block,
        with_gradients,
        num_warps=8,
        num_stages=2,
    )
    return hinges, active, gradients


@triton.jit
def _one_side_kernel(  # type: ignore[no-untyped-def]
    own_pointer,
    others_pointer,
    limits_pointer,
    hinges_pointer,
    active_pointer,
    gradients_pointer,
    # Constant: one kernel is compiled per batch size, and a run has one or two.
    n: tl.constexpr,
    dimensions: tl.constexpr,
    padded_dimensions: tl.constexpr,
    rows_per_block: tl.constexpr,
    columns_per_block: tl.constexpr,
    with_gradients: tl.constexpr,
):
    """One block of rows against all columns: sums of hinges, and gradients from the hinges of both directions."""
    row = tl.program_id(0) * rows_per_block + tl.arange(0, rows_per_block)
    dimension = tl.arange(0, padded_dimensions)
    row_is_there = row < n
    at = row[:, None].to(tl.int64) * dimensions + dimension[None, :]
    own_mask = row_is_there[:, None] & (dimension < dimensions)[None, :]
    own = tl.load(own_pointer + at, mask=own_mask, other=0.0)
    own_squared = tl.sum(own * own, 1)
    limit = tl.load(limits_pointer + row, mask=row_is_there, other=0.0)

    hinges = tl.zeros((rows_per_block,), tl.float32)
    active = tl.zeros((rows_per_block,), tl.float32)
    weight_sum = tl.zeros((rows_per_block,), tl.float32)
    weighted = tl.zeros((rows_per_block, padded_dimensions), tl.float32)
    for start in range(0, n, columns_per_block):
        column = start + tl.arange(0, columns_per_block)
        column_is_there = column < n
        column_at = column[:, None].to(tl.int64) * dimensions + dimension[None, :]
        column_mask = column_is_there[:, None] & (dimension < dimensions)[None, :]
        others = tl.load(others_pointer + column_at, mask=column_mask, other=0.0)
        others_squared = tl.sum(others * others, 1)
        # Full float32: with TF32 a difference of large numbers keeps only three digits.
        products = tl.dot(own, tl.trans(others), input_precision="ieee")
        squared = own_squared[:, None] + others_squared[None, :] - 2.0 * products
        # Compared this way round, NaN propagates.
        coincide = squared <= 0.0
        distance = tl.where(coincide, 0.0, tl.sqrt(tl.where(coincide, 1.0, squared)))
        is_mismatch = (row[:, None] != column[None, :]) & row_is_there[:, None] & column_is_there[None, :]
        hinge = limit[:, None] - distance
        hinges += tl.sum(tl.where((hinge <= 0.0) | (is_mismatch == 0), 0.0, hinge), 1)
        if with_gradients:
            other_limit = tl.load(limits_pointer + column, mask=column_is_there, other=0.0)
            is_active = tl.where(is_mismatch & (hinge > 0.0), 1.0, 0.0)
            other_is_active = tl.where(is_mismatch & (other_limit[None, :] > distance), 1.0, 0.0)
            active += tl.sum(is_active, 1)
            # Where two embeddings coincide the distance has no derivative; their weight is 0.
            weight = tl.where(coincide, 0.0, (is_active + other_is_active) / tl.where(coincide, 1.0, distance))
            weight_sum += tl.sum(weight, 1)
            weighted += tl.dot(weight, others, input_precision="ieee")

    tl.store(hinges_pointer + row, hinges, mask=row_is_there)
    if with_gradients:
        tl.store(active_pointer + row, active, mask=row_is_there)
        tl.store(gradients_pointer + at, weighted - weight_sum[:, None] * own, mask=own_mask)
