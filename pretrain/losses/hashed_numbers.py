"""Random numbers as a function of the number of a draw: no state to save, alike on every process and device."""

from __future__ import annotations

import torch
from torch import Tensor

_SHIFTS = (30, 27, 31)
_ODD_MULTIPLIERS = (-0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""Of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), as signed 64-bit integers."""


def hashed_numbers(n: int, draw: Tensor) -> Tensor:
    """n numbers that look random, without waiting for a device.

    Args:
        n: how many.
        draw: scalar int64, the number of the draw.

    Returns:
        (n,) int64, over the whole range.
    """
    mixed = draw * n + torch.arange(1, n + 1, device=draw.device)
    for shift, multiplier in zip(_SHIFTS, _ODD_MULTIPLIERS, strict=True):
        mixed = mixed * multiplier
        # A logical shift: an arithmetic one would copy the sign.
        mixed = mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))
    return mixed
