"""Random numbers as a function of a draw counter: no state, and equal on every process and device."""

from __future__ import annotations

import torch
from torch import Tensor

_SHIFTS = (30, 27, 31)
_ODD_MULTIPLIERS = (-0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""Constants of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), as signed 64-bit integers."""


def hashed_numbers(n: int, draw: Tensor) -> Tensor:
    """Returns n pseudo-random numbers without synchronising with a device.

    Args:
        n: how many.
        draw: scalar int64, the draw counter.

    Returns:
        (n,) int64, over the whole range.
    """
    mixed = draw * n + torch.arange(1, n + 1, device=draw.device)
    for shift, multiplier in zip(_SHIFTS, _ODD_MULTIPLIERS, strict=True):
        mixed = mixed * multiplier
        # A logical shift: an arithmetic one would copy the sign.
        mixed = mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))
    return mixed
