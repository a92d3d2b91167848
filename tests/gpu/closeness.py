"""How far two results are apart, and the refusal of what is too far."""

from __future__ import annotations

import torch
from torch import Tensor


def difference(ours: Tensor, reference: Tensor) -> float:
    """The largest difference between two tensors, as a fraction of the reference's largest magnitude.

    NaN where either has one.
    """
    a, b = ours.detach().double().cpu(), reference.detach().double().cpu()
    assert a.shape == b.shape, f"shape {tuple(a.shape)}, expected {tuple(b.shape)}"
    scale = b.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    return float(((a - b).abs().max() / scale).item()) if a.numel() else 0.0


def require_close(what: str, ours: Tensor, reference: Tensor, tolerance: float) -> float:
    """The difference, in the sense of `difference`.

    Raises:
        AssertionError: it is above the tolerance, or not a number.
    """
    found = difference(ours, reference)
    assert found <= tolerance, f"{what}: differs by {found:.2g} of the largest value, allowed {tolerance:.2g}"
    return found


def in_full_float32() -> None:
    """Switches TF32 off, which keeps three digits of a product."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
