"""The fused kernel of the batch triplet loss against the tiled form in float64; on the CPU in Triton's interpreter."""

from __future__ import annotations

import os
from typing import Any

import torch
from gpu.closeness import require_close
from gpu.items import Place
from torch import Tensor

from pretrain.losses.batch_triplet_tiled import tiled_total

# (pairs, dimensions, margin). Blocks are 64 × 32 pairs, 32 × 16 beyond 128 dimensions: most are no multiple of either.
SMALL_SHAPES = ((2, 1, 1.0), (63, 5, 0.3), (64, 16, 1.0), (97, 128, 1.0), (70, 150, 1.0))
LARGE_SHAPES = ((130, 20, 2.5), (33, 256, 1.0), (2051, 128, 1.0), (2048, 256, 0.2), (4099, 64, 1.0), (8192, 128, 1.0))
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
"""Of the largest value. Squared distances are differences of float32 numbers a hundred times as large."""
BF16_STEP = 2.0**-8


def equals_the_tiled_form(place: Place) -> dict[str, Any]:
    """Value and gradients for all shapes, twice alike; coinciding, non-finite and bf16 embeddings.

    Raises:
        AssertionError: one differs.
    """
    if not place.is_gpu:
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
    from pretrain.losses.batch_triplet_triton import fused_total

    worst_value = worst_gradient = 0.0
    shapes = SMALL_SHAPES + (LARGE_SHAPES if place.is_gpu else ())
    for n, dimensions, margin in shapes:
        name, pair = f"n = {n}, d = {dimensions}", embeddings(n, dimensions, place.device)
        value, *gradients = with_gradients(fused_total, pair, margin)
        exact, *exact_gradients = with_gradients(tiled_total, [rows.double() for rows in pair], margin)
        worst_value = max(worst_value, require_close(f"loss, {name}", value, exact, VALUE_TOLERANCE))
        for ours, theirs in zip(gradients, exact_gradients, strict=True):
            found = require_close(f"gradient, {name}", ours, theirs, GRADIENT_TOLERANCE)
            worst_gradient = max(worst_gradient, found)
        again = with_gradients(fused_total, pair, margin)
        assert all(map(torch.equal, again, (value, *gradients))), f"{name}: two calls differ"
        with torch.no_grad():
            require_close(f"loss without gradient, {name}", fused_total(*pair, margin), exact, VALUE_TOLERANCE)
    check_coinciding(place.device)
    check_not_finite(place.device)
    if place.is_gpu:
        check_bf16(place.device)
    return {"shapes": len(shapes), "worst_value": worst_value, "worst_gradient": worst_gradient}


def embeddings(n: int, dimensions: int, device: str) -> list[Tensor]:
    """Image and sound embeddings that match moderately well, the same on every device."""
    image, noise = torch.randn(2, n, dimensions, generator=torch.Generator().manual_seed(n + dimensions))
    return [image.to(device), (0.3 * image + noise).to(device)]


def with_gradients(total: Any, pair: list[Tensor], margin: float) -> tuple[Tensor, ...]:
    """The loss, and its gradient at the images and at the sounds."""
    leaves = [rows.detach().requires_grad_() for rows in pair]
    value = total(*leaves, margin)
    return value.detach(), *torch.autograd.grad(value, leaves)


def check_coinciding(device: str) -> None:
    """Where all embeddings are one point, every hinge is the margin, and there is no gradient."""
    from pretrain.losses.batch_triplet_triton import fused_total

    # An eighth is exact in binary, so that centring leaves zeros.
    value, *gradients = with_gradients(fused_total, [torch.full((70, 3), 0.125, device=device)] * 2, 0.5)
    assert value.item() == 0.5 * 2 * 70 * 69, f"collapsed embeddings: loss {value.item()}"
    assert all(gradient.abs().max().item() == 0 for gradient in gradients), "collapsed embeddings have a gradient"


def check_not_finite(device: str) -> None:
    """NaN and infinity reach the loss, where the trainer looks for them."""
    from pretrain.losses.batch_triplet_triton import fused_total

    for number in (float("nan"), float("inf")):
        image, sound = embeddings(70, 3, device)
        sound[68, 1] = number
        value, _, gradient = with_gradients(fused_total, [image, sound], 1.0)
        assert not value.isfinite().item(), f"{number} in an embedding gives the loss {value.item()}"
        assert not gradient[68].isfinite().all().item(), f"{number} in an embedding gives it a finite gradient"


def check_bf16(device: str) -> None:
    """Embeddings in bfloat16 under autocast, as a trainer in bf16 gives them: computed in float32, by the kernel."""
    from pretrain.losses.batch_triplet import TILED_FROM, batch_triplet_loss
    from pretrain.losses.batch_triplet_triton import is_fit

    for n in (64, TILED_FROM, TILED_FROM + 3):
        leaves = [rows.bfloat16().requires_grad_() for rows in embeddings(n, 128, device)]
        assert is_fit(leaves[0], torch.float32), "the loss does not use the kernel on this card"
        with torch.autocast(device, dtype=torch.bfloat16):
            value = batch_triplet_loss(*leaves)
        assert value.dtype == torch.float32, f"bf16: the loss is {value.dtype}"
        exact = tiled_total(*(widened := [rows.detach().double().requires_grad_() for rows in leaves]), 1.0)
        exact = exact / (2 * n * (n - 1))
        require_close(f"bf16, n = {n}", value, exact, VALUE_TOLERANCE)
        ours, theirs = torch.autograd.grad(value, leaves), torch.autograd.grad(exact, widened)
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == torch.bfloat16, f"bf16: the gradient is {one.dtype}"
            require_close(f"gradient, bf16, n = {n}", one, other, BF16_STEP)
