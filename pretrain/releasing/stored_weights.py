"""How a release stores weights: as float32, or in half precision with vectors and counters left as they are."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save as serialize
from torch import Tensor

from pretrain.model import TwoTower
from shards.errors import UserError

MOST = float(torch.finfo(torch.float16).max)


def write_weights(
    path: Path, state: Mapping[str, Tensor], *, half: bool, metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file; with `half`, matrices and convolutions as float16."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    if half:
        tensors = {name: tensor.half() if _is_halved(tensor) else tensor for name, tensor in tensors.items()}
    # safetensors' own writer hides which file system error occurred.
    path.write_bytes(serialize(tensors, metadata))


def stored_bytes(state: Mapping[str, Tensor], *, half: bool) -> int:
    """Bytes of the tensors that `write_weights` would write."""
    return sum(
        tensor.numel() * (torch.float16.itemsize if half and _is_halved(tensor) else tensor.element_size())
        for tensor in state.values()
    )


@torch.no_grad()
def rounded_to_half(towers: TwoTower) -> TwoTower:
    """Returns a copy of towers, whose weights `write_weights` stores without loss in half precision.

    Vectors (norms' scales and statistics, biases) are not rounded: they are few, and small variances would vanish.

    Raises:
        UserError: a weight is too large for half precision.
    """
    rounded = copy.deepcopy(towers)
    for name, value in rounded.state_dict().items():
        if not _is_halved(value):
            continue
        most = float(value.abs().max())
        if most > MOST:
            raise UserError(
                f"half is impossible: {name} has a weight of {most:.3g}, above {MOST:g}, the largest number of half "
                "precision; release without --half"
            )
        value.copy_(value.half().float())
    return rounded


def _is_halved(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.ndim >= 2
