"""The contrastive and naive triplet losses against slow, literal forms, their limits, and their tiles."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pretrain.losses import LOSSES, similarity_tiles
from pretrain.losses.contrastive import (
    ContrastiveLoss,
    SigmoidLoss,
    SymmetricContrastiveLoss,
    contrastive_loss,
    sigmoid_loss,
)
from pretrain.losses.naive_triplet import NaiveTripletLoss, naive_triplet_loss, random_others

TEMPERATURE = 0.3


def pairs(n: int = 7, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, sounds = torch.randn(2, n, d, dtype=torch.float64, generator=generator)
    return images.requires_grad_(), sounds.requires_grad_()


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y) / (x.norm() * y.norm())


def literal_image_to_sound(images: Tensor, sounds: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(images)):
        among = sum(torch.exp(cosine(images[i], sounds[j]) / TEMPERATURE) for j in range(len(sounds)))
        total = total - torch.log(torch.exp(cosine(images[i], sounds[i]) / TEMPERATURE) / among)
    return total / len(images)


def literal_both(images: Tensor, sounds: Tensor) -> Tensor:
    return (literal_image_to_sound(images, sounds) + literal_image_to_sound(sounds, images)) / 2


def literal_sigmoid(images: Tensor, sounds: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(images)):
        for j in range(len(sounds)):
            z = 1 if i == j else -1
            total = total - torch.log(1 / (1 + torch.exp(-z * (3.0 * cosine(images[i], sounds[j]) - 2.0))))
    return total / len(images)


def literal_naive(images: Tensor, sounds: Tensor) -> Tensor:
    negatives = random_others(len(images), torch.tensor(5))
    total = torch.zeros((), dtype=torch.float64)
    for i, k in enumerate(negatives.tolist()):
        total = total + torch.clamp((images[i] - sounds[i]).norm() - (images[i] - sounds[k]).norm() + 0.7, min=0)
    return total


GROUPS = [3, 1, 3, 2, 1, 3, 9]
SMOOTHING = 0.25


def literal_targets(images: Tensor, sounds: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy of each row and each column of the similarities against its target distribution."""
    n = len(images)
    similarity = [[cosine(images[i], sounds[j]) / TEMPERATURE for j in range(n)] for i in range(n)]
    total = torch.zeros((), dtype=torch.float64)
    for i in range(n):
        of_group = [j for j in range(n) if GROUPS[j] == GROUPS[i]]
        for j in range(n):
            target = (1 - smoothing) * (j in of_group) / len(of_group) + smoothing / n
            row = torch.log(sum(torch.exp(similarity[i][k]) for k in range(n)))
            column = torch.log(sum(torch.exp(similarity[k][i]) for k in range(n)))
            total = total - target * (similarity[i][j] - row) / 2 - target * (similarity[j][i] - column) / 2
    return total / n


def a_number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "contrastive": (lambda x, y: contrastive_loss(x, y, TEMPERATURE), literal_image_to_sound),
    "symmetric": (lambda x, y: contrastive_loss(x, y, TEMPERATURE, "both"), literal_both),
    "groups": (
        lambda x, y: contrastive_loss(x, y, TEMPERATURE, "both", groups=torch.tensor(GROUPS)),
        lambda x, y: literal_targets(x, y, smoothing=0.0),
    ),
    "groups and smoothing": (
        lambda x, y: contrastive_loss(
            x, y, TEMPERATURE, "both", groups=torch.tensor(GROUPS), label_smoothing=SMOOTHING
        ),
        lambda x, y: literal_targets(x, y, smoothing=SMOOTHING),
    ),
    "sigmoid": (lambda x, y: sigmoid_loss(x, y, a_number(3.0), a_number(-2.0)), literal_sigmoid),
    "naive triplet": (
        lambda x, y: naive_triplet_loss(x, y, random_others(len(x), torch.tensor(5)), 0.7, "sum"),
        literal_naive,
    ),
}


@pytest.mark.parametrize("tile", [3, 1024])
@pytest.mark.parametrize("name", FORMS)
def test_value_and_gradients_are_those_of_the_literal_form(
    name: str, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity_tiles, "TILE", tile)
    loss_of, literal = FORMS[name]
    images, sounds = pairs()
    expected = literal(images, sounds)
    loss = loss_of(images, sounds)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    for found, wanted in zip(
        torch.autograd.grad(3 * loss, (images, sounds)),
        torch.autograd.grad(3 * expected, (images, sounds)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


def test_two_pairs_by_hand() -> None:
    # Similarities 1 and 0 at temperature 0.5: an image's own sound has e²/(e² + 1) of the softmax.
    images = torch.eye(2)
    assert contrastive_loss(images, images, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    # The same with logits 2·s − 1: the pairs have 1, the mismatches −1, and all four terms are log(1 + 1/e).
    by_sigmoid = sigmoid_loss(images, images, torch.tensor(2.0), torch.tensor(-1.0))
    assert by_sigmoid.item() == pytest.approx(2 * math.log(1 + math.exp(-1)))
    # Distances 0 and √2: the hinge of margin 2 leaves 2 − √2.
    naive = naive_triplet_loss(images, images, torch.tensor([1, 0]), margin=2.0)
    assert naive.item() == pytest.approx(2 - math.sqrt(2))


def test_both_directions_are_symmetric_and_one_is_not() -> None:
    images, sounds = pairs()
    both = contrastive_loss(images, sounds, TEMPERATURE, "both")
    torch.testing.assert_close(both, contrastive_loss(sounds, images, TEMPERATURE, "both"))
    one_way = contrastive_loss(images, sounds, TEMPERATURE)
    assert abs(one_way - contrastive_loss(sounds, images, TEMPERATURE)) > 1e-3
    numbers = (a_number(3.0), a_number(-2.0))
    torch.testing.assert_close(sigmoid_loss(images, sounds, *numbers), sigmoid_loss(sounds, images, *numbers))


def test_embeddings_that_coincide() -> None:
    same = torch.ones(6, 3, requires_grad=True)
    assert contrastive_loss(same, same).item() == pytest.approx(math.log(6))
    assert naive_triplet_loss(same, same, random_others(6, torch.tensor(0))).item() == 1.0
    for loss in (contrastive_loss(same, same), naive_triplet_loss(same, same, random_others(6, torch.tensor(0)))):
        (gradient,) = torch.autograd.grad(loss, same)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", [SymmetricContrastiveLoss(TEMPERATURE), SigmoidLoss()])
def test_learned_numbers_get_the_gradient_of_the_formula(loss: torch.nn.Module) -> None:
    images, sounds = (value.detach() for value in pairs())
    loss, step = loss.double(), 1e-5
    for number in loss.parameters():
        (gradient,) = torch.autograd.grad(loss(images, sounds), number)
        values = []
        with torch.no_grad():
            for change in (step, -2 * step):
                number += change
                values.append(loss(images, sounds).item())
            number += step
        assert gradient.item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_the_learned_temperature_begins_where_it_is_set() -> None:
    assert SymmetricContrastiveLoss(TEMPERATURE).temperature.item() == pytest.approx(TEMPERATURE)


@pytest.mark.parametrize("raw", [-50.0, 50.0])
def test_the_temperature_stays_within_its_bounds(raw: float) -> None:
    loss = SymmetricContrastiveLoss()
    with torch.no_grad():
        loss.raw_temperature.fill_(raw)
    assert 0.0099 < loss.temperature.item() < 1.001


def test_negatives_are_others_spread_evenly_and_new_in_every_draw() -> None:
    counts = torch.zeros(5, 5)
    for draw in range(2000):
        others = random_others(5, torch.tensor(draw))
        counts[torch.arange(5), others] += 1
    assert counts.diagonal().sum() == 0
    off_diagonal = counts[~torch.eye(5, dtype=torch.bool)]
    assert off_diagonal.min() > 400  # of 500 each
    assert off_diagonal.max() < 600


def test_a_restored_loss_draws_on() -> None:
    images, sounds = (value.detach() for value in pairs(20))
    loss = NaiveTripletLoss()
    for _ in range(3):
        loss(images, sounds)
    again = NaiveTripletLoss()
    again.load_state_dict(loss.state_dict())
    following = [loss(images, sounds).item() for _ in range(3)]
    assert [again(images, sounds).item() for _ in range(3)] == following
    assert len(set(following)) == 3


def test_memory_of_a_large_batch_is_that_of_tiles() -> None:
    # 6,000 × 6,000 similarities would be 144 MB in float32; nothing of that size is made.
    images, sounds = torch.randn(2, 6000, 8)
    largest = 0
    product = torch.Tensor.__matmul__

    def watched(a: Tensor, b: Tensor) -> Tensor:
        nonlocal largest
        result = product(a, b)
        largest = max(largest, result.numel())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "__matmul__", watched)
        contrastive_loss(images, sounds)
    assert 0 < largest <= similarity_tiles.TILE**2


def test_half_precision_is_computed_in_float32() -> None:
    images, sounds = (value.detach() for value in pairs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(images.bfloat16(), sounds.bfloat16())
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_refuses_what_is_no_batch_of_pairs(name: str) -> None:
    loss = LOSSES[name]().build(8)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        loss(torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="one shape"):
        loss(torch.zeros(3, 4), torch.zeros(3, 5))


def test_settings_of_the_wrong_kind_are_refused() -> None:
    images, sounds = pairs()
    with pytest.raises(ValueError, match="temperature must be > 0, got -1"):
        contrastive_loss(images, sounds, -1.0)
    with pytest.raises(ValueError, match="direction must be"):
        ContrastiveLoss(direction="sideways")(images, sounds)
    with pytest.raises(ValueError, match="temperature must be between"):
        SymmetricContrastiveLoss(2.0)


def test_smoothing_and_positives_of_their_own_are_torchs_and_the_plain_loss() -> None:
    images, sounds = pairs()
    with torch.no_grad():
        similarity = torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(sounds).T / TEMPERATURE
        theirs = torch.nn.functional.cross_entropy(similarity, torch.arange(7), label_smoothing=SMOOTHING)
        ours = contrastive_loss(images, sounds, TEMPERATURE, label_smoothing=SMOOTHING)
        torch.testing.assert_close(ours, theirs)
        alone = contrastive_loss(images, sounds, TEMPERATURE, "both", groups=torch.arange(7))
        torch.testing.assert_close(alone, contrastive_loss(images, sounds, TEMPERATURE, "both"))
    loss = SymmetricContrastiveLoss(TEMPERATURE, positives="place", label_smoothing=SMOOTHING)
    assert loss.inputs == ("place_group",)
    groups = torch.tensor(GROUPS)
    expected = contrastive_loss(images, sounds, loss.temperature, "both", groups=groups, label_smoothing=SMOOTHING)
    torch.testing.assert_close(loss(images, sounds, place_group=groups), expected)
