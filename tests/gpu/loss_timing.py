"""The batch triplet loss and its gradient against the batch: fused kernel, tiles and whole matrix; and the kernel's
blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gpu.clock import peak_mib, seconds_in_turn
from gpu.items import Place
from gpu.kernel_checks import embeddings
from gpu.requirements import has_compiler, is_importable
from torch import Tensor

from pretrain.losses.batch_triplet import plain_total
from pretrain.losses.batch_triplet_tiled import tiled_total

SIZES, SMALL_SIZES = (256, 2048, 8192, 16_384, 32_768, 65_536), (64,)
LARGEST_PLAIN = 16_384
"""Beyond it the whole matrix and what autograd keeps of it would take tens of GiB."""
DIMENSIONS = 128
ROUNDS = 5

BLOCKS = (
    (64, 32, 8, 2),
    (64, 32, 4, 2),
    (64, 64, 8, 2),
    (64, 64, 4, 2),
    (32, 32, 4, 2),
    (32, 64, 4, 2),
    (128, 32, 8, 2),
    (128, 64, 8, 2),
    (64, 32, 8, 3),
    (16, 64, 4, 2),
)
"""Rows, columns, warps and stages of a block; the first are those of `batch_triplet_triton`."""


def time_forms(place: Place) -> dict[str, Any]:
    """Milliseconds of a forward and backward pass, called in turn, and the peak of memory in MiB."""
    forms: dict[str, Callable[..., Tensor]] = {"tiled": tiled_total, "plain": plain_total}
    if place.is_gpu and is_importable("triton") and has_compiler():
        from pretrain.losses.batch_triplet_triton import fused_total

        forms = {"fused": fused_total, **forms}
    figures: dict[str, Any] = {}
    for n in SIZES if place.is_gpu else SMALL_SIZES:
        leaves = [rows.requires_grad_() for rows in embeddings(n, DIMENSIONS, place.device)]
        passes = {
            name: lambda total=total, leaves=leaves: torch.autograd.grad(total(*leaves, 1.0), leaves)
            for name, total in forms.items()
            if name != "plain" or n <= LARGEST_PLAIN
        }
        for name in list(passes):
            try:
                figures[f"{name}, n = {n:,}, peak MiB"] = peak_mib(passes[name], place.device)
            except torch.cuda.OutOfMemoryError:
                figures[f"{name}, n = {n:,}, peak MiB"] = "more than the card has"
                del passes[name]
        for name, seconds in seconds_in_turn(passes, ROUNDS, place.device).items():
            figures[f"{name}, n = {n:,}, ms"] = 1000 * seconds
    return figures


def time_blocks(place: Place) -> dict[str, Any]:
    """Milliseconds of one side of the kernel at n = 16,384 by the shape of its blocks, to choose them by."""
    n = 16_384
    own, others = embeddings(n, DIMENSIONS, place.device)
    limits = (own - others).norm(dim=1) + 1
    actions, figures = {}, {}
    for rows, columns, warps, stages in BLOCKS:
        name = f"{rows} × {columns}, {warps} warps, {stages} stages, ms"
        try:
            actions[name] = _with_blocks(own, others, limits, rows, columns, warps, stages)
            actions[name]()
            torch.cuda.synchronize()
        except Exception as error:  # too much shared memory, or too many registers
            figures[name] = f"refused: {type(error).__name__}"
            del actions[name]
    return figures | {name: 1000 * seconds for name, seconds in seconds_in_turn(actions, ROUNDS, "cuda").items()}


def _with_blocks(own: Tensor, others: Tensor, limits: Tensor, *shape: int) -> Callable[[], None]:
    from pretrain.losses.batch_triplet_triton import _one_side_kernel

    rows, columns, warps, stages = shape
    n, dimensions = own.shape
    found = own.new_empty(n), own.new_empty(n), torch.empty_like(own)

    def launch() -> None:
        _one_side_kernel[(-(-n // rows),)](
            own, others, limits, *found, n, dimensions, dimensions, rows, columns, True, num_warps=warps,
            num_stages=stages,
        )  # fmt: skip

    return launch
