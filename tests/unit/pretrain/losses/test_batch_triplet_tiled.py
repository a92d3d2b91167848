"""The tiled batch triplet loss against Algorithm 1 and the plain form: value, gradient, memory, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from pretrain.losses import batch_triplet, batch_triplet_tiled
from pretrain.losses.batch_triplet import batch_triplet_loss, plain_total
from pretrain.losses.batch_triplet_tiled import tiled_total

Pair = tuple[torch.Tensor, torch.Tensor]
CPU_TILE = batch_triplet_tiled.TILE["cpu"]


@pytest.fixture(scope="module", autouse=True)
def _small_tiles() -> Iterator[None]:
    """Tiles so small that few embeddings make several, the last of them cut off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(batch_triplet_tiled.TILE, "cpu", 5)
        yield


def random_pairs(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, n, d, dtype=dtype, generator=generator)
    return pair[0].requires_grad_(), pair[1].requires_grad_()


def literal_total(image: torch.Tensor, sound: torch.Tensor, margin: float) -> torch.Tensor:
    """Algorithm 1 as printed, with all differences at once, less the constant of its diagonal."""
    distances = torch.linalg.vector_norm(image[:, None] - sound[None], dim=2)
    true = distances.diagonal()
    by_row, by_column = (true[:, None] - distances + margin).relu(), (true[None] - distances + margin).relu()
    return by_row.sum() + by_column.sum() - 2 * len(image) * margin


def assert_close_with_gradients(
    ours: torch.Tensor,
    expected: torch.Tensor,
    pair: Pair,
    gradients: tuple[torch.Tensor, ...],
    rtol: float,
    atol: float,
) -> None:
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=atol)
    for a, b in zip(torch.autograd.grad(ours, pair), gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@settings(max_examples=60, deadline=None)
@example(n=15, d=1, seed=208, margin=1.0, coincide=False)
@given(
    n=st.integers(2, 17),
    d=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    margin=st.floats(0.05, 5.0),
    coincide=st.booleans(),
)
def test_equals_algorithm_1_in_value_and_gradient(n: int, d: int, seed: int, margin: float, coincide: bool) -> None:
    pair = random_pairs(n, d, seed)
    if coincide:
        # A pair's own two embeddings: its distance is 0 and so is that distance's gradient.
        pair[1].data[n // 2] = pair[0].data[n // 2]
    literal = literal_total(*pair, margin)
    gradients = torch.autograd.grad(literal, pair)
    # Distances by matrix product lose up to half of float64's digits where two embeddings nearly coincide.
    assert_close_with_gradients(tiled_total(*pair, margin), literal, pair, gradients, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_large_batches_take_tiles_and_give_what_the_plain_form_gives(
    reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(batch_triplet_tiled.TILE, "cpu", CPU_TILE)
    n = batch_triplet.TILED_FROM + 3
    pair = random_pairs(n, 16, seed=1)
    plain = plain_total(*pair, 0.7)
    plain = plain if reduction == "sum" else plain / (2 * n * (n - 1))
    gradients = torch.autograd.grad(plain, pair)
    monkeypatch.setattr(batch_triplet, "plain_total", None)
    ours = batch_triplet_loss(*pair, 0.7, reduction)
    assert_close_with_gradients(ours, plain, pair, gradients, rtol=1e-9, atol=1e-9)

    single = batch_triplet_loss(pair[0].float(), pair[1].float(), 0.7, reduction)
    torch.testing.assert_close(single.double(), plain, rtol=2e-6, atol=0)
    for a, b in zip(torch.autograd.grad(single, pair), gradients, strict=True):
        # Not element by element: a hinge within rounding of 0 may count or not, and moves a gradient by a unit vector.
        assert (a - b).norm() < 1e-4 * b.norm()


def test_small_batches_do_not_take_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_triplet, "tiled_total", None)
    pair = random_pairs(batch_triplet.TILED_FROM - 1, 2, seed=2)
    assert batch_triplet_loss(*pair).item() > 0
    with pytest.raises(TypeError, match="not callable"):
        batch_triplet_loss(*random_pairs(batch_triplet.TILED_FROM, 2, seed=2))


class LargestTensor(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("n", [2048, 4096])
def test_no_tensor_outgrows_a_tile_or_the_embeddings(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tile, d = 128, 30
    monkeypatch.setitem(batch_triplet_tiled.TILE, "cpu", tile)
    pair = random_pairs(n, d, seed=3, dtype=torch.float32)
    with LargestTensor() as largest:
        batch_triplet_loss(*pair).backward()
    assert n * d < largest.elements <= max(n * (d + 2), 3 * tile * tile)
    assert largest.elements < n * n / 60


def test_the_backward_pass_scales_by_what_comes_in() -> None:
    pair = random_pairs(12, 3, seed=4)
    (once,) = torch.autograd.grad(tiled_total(*pair, 1.0), pair[0])
    (thrice,) = torch.autograd.grad(tiled_total(*pair, 1.0) * 3, pair[0])
    torch.testing.assert_close(thrice, 3 * once)


@pytest.mark.parametrize("side", [0, 1])
def test_one_modality_can_be_frozen(side: int) -> None:
    pair = random_pairs(12, 3, seed=5)
    both = torch.autograd.grad(tiled_total(*pair, 1.0), pair)[side]
    pair[1 - side].requires_grad_(False)
    (alone,) = torch.autograd.grad(tiled_total(*pair, 1.0), pair[side])
    assert torch.equal(alone, both)


def test_without_gradients_the_value_is_the_same_and_no_gradient_is_computed() -> None:
    pair = random_pairs(12, 3, seed=6)
    with_gradient = tiled_total(*pair, 1.0)
    with torch.no_grad():
        without = tiled_total(*pair, 1.0)
    assert torch.equal(with_gradient.detach(), without)
    assert not without.requires_grad
    sums = batch_triplet_tiled.tiled_sums(pair[0].detach(), pair[1].detach(), torch.ones(12).double(), False)
    assert sums[1:] == (None, None, None)


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    pair = random_pairs(12, 3, seed=7)
    with pytest.raises(RuntimeError, match="differentiated only once"):
        torch.autograd.grad(tiled_total(*pair, 1.0), pair[0], create_graph=True)


def test_embeddings_that_coincide_cost_the_margin_and_have_no_gradient() -> None:
    image = torch.full((12, 3), 0.1, requires_grad=True)
    total = tiled_total(image, image, 0.5)
    assert total.item() == pytest.approx(0.5 * 2 * 12 * 11)
    (gradient,) = torch.autograd.grad(total, image)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() == 0


def test_mismatches_that_coincide_give_finite_gradients() -> None:
    image, sound = random_pairs(12, 3, seed=8)
    sound.data[7] = image.data[2]
    for gradient in torch.autograd.grad(tiled_total(image, sound, 1.0), (image, sound)):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("position", [0, 7, 11])
def test_what_is_not_finite_is_not_hidden(value: float, position: int) -> None:
    image, sound = random_pairs(12, 3, seed=9)
    image.data[position, 1] = value
    total = tiled_total(image, sound, 1.0)
    assert not torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (image, sound)):
        assert not torch.isfinite(gradient[position]).all()


def test_far_from_the_origin_float32_still_agrees_with_float64() -> None:
    image, sound = random_pairs(16, 8, seed=10, dtype=torch.float32)
    exact = tiled_total(image.double(), sound.double(), 1.0)
    torch.testing.assert_close(tiled_total(image + 1000, sound + 1000, 1.0).double(), exact, rtol=1e-3, atol=1e-4)


def test_is_computed_in_float32_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_triplet, "TILED_FROM", 2)
    image, sound = random_pairs(12, 4, seed=11, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = batch_triplet_loss(image, sound)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, tiled_total(image.float(), sound.float(), 1.0) / (2 * 12 * 11))
    (gradient,) = torch.autograd.grad(loss, image)
    assert gradient.dtype == torch.bfloat16


def test_same_bits_in_every_run() -> None:
    pair = random_pairs(40, 6, seed=12, dtype=torch.float32)
    first, second = (tiled_total(*pair, 1.0) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.autograd.grad(first, pair)[0], torch.autograd.grad(second, pair)[0])
