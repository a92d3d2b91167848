"""NT-Xent against its literal form, its limits, and its blocks of rows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pretrain.losses import nt_xent
from pretrain.losses.nt_xent import nt_xent_loss

TEMPERATURE = 0.3


def views(n: int = 5, d: int = 4) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return first.requires_grad_(), second.requires_grad_()


def literal(first: Tensor, second: Tensor) -> Tensor:
    z = [*first, *second]
    n, total = len(first), torch.zeros((), dtype=torch.float64)
    for i in range(2 * n):
        terms = [torch.exp(torch.cosine_similarity(z[i], z[k], dim=0) / TEMPERATURE) for k in range(2 * n)]
        others = sum(terms[k] for k in range(2 * n) if k != i)
        total = total - torch.log(terms[(i + n) % (2 * n)] / others)
    return total / (2 * n)


@pytest.mark.parametrize("block", [3, 1024])
def test_value_and_gradients_are_those_of_the_literal_form(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nt_xent, "BLOCK", block)
    pair = views()
    loss, expected = nt_xent_loss(*pair, TEMPERATURE), literal(*pair)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(torch.autograd.grad(3 * loss, pair), torch.autograd.grad(3 * expected, pair), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, y: nt_xent_loss(x, y, TEMPERATURE), pair)


def test_two_images_by_hand() -> None:
    # Each view has its like at similarity 1 and the two of the other image at 0; lengths don't matter.
    loss = nt_xent_loss(3 * torch.eye(2), torch.eye(2) / 2, 0.5)
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    # With the other image's views opposite: at temperature 1 among exp(1), exp(-1) and exp(-1).
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert nt_xent_loss(opposite, opposite, 1.0).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))


def test_both_views_count_alike_and_so_do_all_images() -> None:
    first, second = views()
    loss = nt_xent_loss(first, second, TEMPERATURE)
    torch.testing.assert_close(loss, nt_xent_loss(second, first, TEMPERATURE))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(loss, nt_xent_loss(first[order], second[order], TEMPERATURE))
    assert abs(loss - nt_xent_loss(first, second[order], TEMPERATURE)) > 1e-3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_embeddings_that_coincide(value: float) -> None:
    same = torch.full((6, 3), value, requires_grad=True)
    loss = nt_xent_loss(same, same, 0.1)
    assert loss.item() == pytest.approx(math.log(11))
    (gradient,) = torch.autograd.grad(loss, same)
    torch.testing.assert_close(gradient, torch.zeros(6, 3), rtol=0, atol=1e-5)


def test_memory_of_a_large_batch_is_that_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing that is kept for the way back has as many numbers as a block of similarities.
    monkeypatch.setattr(nt_xent, "BLOCK", 100)
    first, second = torch.randn(2, 2000, 4, requires_grad=True)
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = nt_xent_loss(first, second)
    assert 0 < max(kept) <= 4000 * 4
    loss.backward()


def test_half_precision_is_computed_in_float32() -> None:
    first, second = (value.detach().bfloat16() for value in views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent_loss(first, second, TEMPERATURE)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, nt_xent_loss(first.float(), second.float(), TEMPERATURE), rtol=1e-6, atol=0)


def test_what_is_no_batch_of_two_views_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 pairs"):
        nt_xent_loss(torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="one shape"):
        nt_xent_loss(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        nt_xent_loss(*views(), 0.0)
