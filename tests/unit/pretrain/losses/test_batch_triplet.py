"""The batch triplet loss against a literal reference, in value and gradient, and at its limits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.losses.batch_triplet import batch_triplet_loss, pairwise_distances


def literal_loss(image: torch.Tensor, sound: torch.Tensor, margin: float, reduction: str) -> torch.Tensor:
    """The formula, a term at a time."""
    n = len(image)

    def distance(i: int, j: int) -> torch.Tensor:
        return torch.linalg.vector_norm(image[i] - sound[j])

    total = torch.zeros((), dtype=image.dtype)
    for i in range(n):
        for j in range(n):
            if j != i:
                total = total + torch.clamp(distance(i, i) - distance(i, j) + margin, min=0)
                total = total + torch.clamp(distance(j, j) - distance(i, j) + margin, min=0)
    return total if reduction == "sum" else total / (2 * n * (n - 1))


def random_pairs(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, n, d, dtype=dtype, generator=generator)
    return pair[0].requires_grad_(), pair[1].requires_grad_()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 9),
    d=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    margin=st.floats(0.05, 5.0),
    reduction=st.sampled_from(["mean", "sum"]),
)
def test_equals_the_literal_formula_in_value_and_gradient(
    n: int, d: int, seed: int, margin: float, reduction: str
) -> None:
    image, sound = random_pairs(n, d, seed)
    ours = batch_triplet_loss(image, sound, margin, reduction)
    theirs = literal_loss(image, sound, margin, reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for a, b in zip(
        torch.autograd.grad(ours, (image, sound)), torch.autograd.grad(theirs, (image, sound)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_by_hand() -> None:
    # D = [[0, 3], [4, 1]], margin 2: rows give max(0, 0-3+2) + max(0, 1-4+2); columns max(0, 0-4+2) + max(0, 1-3+2).
    image = torch.tensor([[0.0], [4.0]])
    sound = torch.tensor([[0.0], [3.0]])
    assert pairwise_distances(image, sound).tolist() == [[0.0, 3.0], [4.0, 1.0]]
    assert batch_triplet_loss(image, sound, margin=2.0, reduction="sum").item() == 0.0
    assert batch_triplet_loss(image, sound, margin=3.5, reduction="sum").item() == pytest.approx(0.5 + 0.5 + 0 + 1.5)
    assert batch_triplet_loss(image, sound, margin=3.5).item() == pytest.approx(2.5 / 4)


def test_is_symmetric_in_the_two_modalities() -> None:
    image, sound = random_pairs(7, 5, seed=1)
    torch.testing.assert_close(batch_triplet_loss(image, sound), batch_triplet_loss(sound, image))


def test_equals_algorithm_1_but_for_its_constant_diagonal() -> None:
    image, sound = random_pairs(6, 4, seed=2)
    distances = (image[:, None] - sound[None]).norm(dim=2)
    true = distances.diagonal()
    printed = (true[None] - distances + 1).relu().sum() + (true[:, None] - distances + 1).relu().sum()
    ours = batch_triplet_loss(image, sound, margin=1.0, reduction="sum")
    torch.testing.assert_close(ours + 2 * 6 * 1.0, printed)


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_embeddings_that_coincide_cost_the_margin_and_have_no_gradient(margin: float) -> None:
    image = torch.full((5, 3), 0.1, requires_grad=True)
    loss = batch_triplet_loss(image, image, margin)
    assert loss.item() == pytest.approx(margin)
    (gradient,) = torch.autograd.grad(loss, image)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() == 0


def test_far_from_the_origin_float32_still_agrees_with_float64() -> None:
    image, sound = random_pairs(16, 8, seed=3, dtype=torch.float32)
    far = 1000.0
    exact = batch_triplet_loss(image.double(), sound.double())
    torch.testing.assert_close(batch_triplet_loss(image + far, sound + far).double(), exact, rtol=1e-3, atol=1e-4)


def test_is_computed_in_float32_for_bfloat16() -> None:
    image, sound = random_pairs(8, 4, seed=4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = batch_triplet_loss(image, sound)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, batch_triplet_loss(image.float(), sound.float()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(value: float) -> None:
    image, sound = (rows.detach() for rows in random_pairs(4, 3, seed=5))
    image[2, 1] = value
    assert not torch.isfinite(batch_triplet_loss(image, sound))


@pytest.mark.parametrize(
    ("image", "sound", "options", "message"),
    [
        (torch.zeros(1, 4), torch.zeros(1, 4), {}, "at least 2 pairs"),
        (torch.zeros(3, 4), torch.zeros(4, 4), {}, "one shape"),
        (torch.zeros(3), torch.zeros(3), {}, "one shape"),
        (torch.zeros(3, 4), torch.zeros(3, 4), {"margin": 0.0}, "margin must be > 0"),
        (torch.zeros(3, 4), torch.zeros(3, 4), {"reduction": "none"}, "reduction must be"),
    ],
)
def test_refuses_what_it_can_not_use(
    image: torch.Tensor, sound: torch.Tensor, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batch_triplet_loss(image, sound, **options)  # type: ignore[arg-type]
