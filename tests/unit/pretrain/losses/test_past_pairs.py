"""Negatives beyond the batch, and pairs that are no negatives, against slow and literal forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pretrain.data.views import point_on_sphere
from pretrain.losses import similarity_tiles
from pretrain.losses.contrastive import SymmetricContrastiveLoss, contrastive_loss
from pretrain.losses.no_negatives import EARTH_RADIUS_KM, NoNegatives, chord
from pretrain.losses.past_pairs import PastPairs

N, K, D = 5, 4, 3
TEMPERATURE = 0.3


def rows(n: int, seed: int) -> Tensor:
    return torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kilometres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Over the ground between (longitude, latitude) pairs, by the haversine formula."""
    (east_a, north_a), (east_b, north_b) = (np.radians(a), np.radians(b))
    h = math.sin((north_b - north_a) / 2) ** 2
    h += math.cos(north_a) * math.cos(north_b) * math.sin((east_b - east_a) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1, math.sqrt(h)))


def literal(queries: Tensor, others: Tensor, excluded: Tensor) -> Tensor:
    """-log softmax of the pair among all others that are not excluded; row i of `others` is the pair of query i."""
    total = torch.zeros((), dtype=torch.float64)
    for i, query in enumerate(queries):
        logits = [torch.cosine_similarity(query, other, dim=0) / TEMPERATURE for other in others]
        among = [torch.exp(logit) for j, logit in enumerate(logits) if j == i or not excluded[i, j]]
        total = total - torch.log(torch.exp(logits[i]) / sum(among))
    return total / len(queries)


@pytest.mark.parametrize("tile", [2, 1024])
@pytest.mark.parametrize("direction", ["image_to_sound", "both"])
def test_value_and_gradients_are_those_of_the_definition(
    tile: int, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity_tiles, "TILE", tile)
    images, sounds = rows(N, 0).requires_grad_(), rows(N, 1).requires_grad_()
    past = rows(K, 2), rows(K, 3)
    excluded = torch.rand(N, N + K, generator=torch.Generator().manual_seed(4)) < 0.4
    excluded[:, :N] |= excluded[:, :N].T.clone()
    excluded.fill_diagonal_(False)
    temperature = torch.tensor(TEMPERATURE, dtype=torch.float64, requires_grad=True)

    ours = contrastive_loss(images, sounds, temperature, direction, past=past, excluded=lambda r, c: excluded[r, c])
    expected = literal(images, torch.cat([sounds, past[1]]), excluded)
    if direction == "both":
        expected = (expected + literal(sounds, torch.cat([images, past[0]]), excluded)) / 2
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (images, sounds)), torch.autograd.grad(expected, (images, sounds))
    )
    assert torch.autograd.gradcheck(
        lambda x, y, t: contrastive_loss(x, y, t, direction, past=past, excluded=lambda r, c: excluded[r, c]),
        (images, sounds, temperature),
    )


coordinates = st.tuples(st.floats(-180, 180), st.floats(-90, 90))


@given(st.lists(coordinates, min_size=2, max_size=6), st.floats(0.02, 15_000))
def test_pairs_within_the_distance_are_no_negatives(places: list[tuple[float, float]], least_km: float) -> None:
    points = torch.from_numpy(np.stack([point_on_sphere(*place) for place in places]))
    excluded = NoNegatives(None, points, least_km, None)(slice(0, len(places)), slice(0, len(places)))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            distance = kilometres(a, b)
            # Points are kept to about a metre; on the far side of the Earth a chord hardly changes.
            if i != j and abs(distance - least_km) > max(0.002, 1e-5 * least_km) and distance < 19_000:
                assert bool(excluded[i, j]) == (distance < least_km)
    assert not excluded.diagonal().any()


def test_fifty_metres_are_told_from_a_hundred() -> None:
    points = torch.from_numpy(np.stack([point_on_sphere(11.0 + metres / 111_195, 0.0) for metres in (0, 50, 100)]))
    excluded = NoNegatives(None, points, 0.075, None)(slice(0, 3), slice(0, 3))
    assert excluded.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_a_place_that_is_not_known_is_near_to_nothing() -> None:
    points = torch.from_numpy(np.stack([point_on_sphere(None, 3.0), point_on_sphere(0.0, 0.0)]))
    assert not NoNegatives(None, points, 40_000.0, None)(slice(0, 2), slice(0, 2)).any()


def test_the_chord_of_the_whole_way_round() -> None:
    assert chord(0) == 0
    assert chord(EARTH_RADIUS_KM * math.pi) == pytest.approx(2)
    assert chord(1e6) == chord(EARTH_RADIUS_KM * math.pi)


def test_the_same_pair_and_empty_places_are_no_negatives() -> None:
    excluded = NoNegatives(torch.tensor([7, 8, 7, 0]), None, 0.0, torch.tensor([True, True, True, False]))
    assert excluded(slice(0, 2), slice(0, 4)).tolist() == [[False, False, True, True], [False, False, False, True]]


@given(st.integers(1, 7), st.lists(st.integers(1, 9), max_size=6))
def test_the_queue_holds_the_newest_pairs(size: int, batches: list[int]) -> None:
    queue = PastPairs(size, 2)
    seen: list[int] = []
    for n in batches:
        new = torch.arange(len(seen), len(seen) + n)
        seen += new.tolist()
        values = new[:, None].float().expand(n, 2)
        queue.add(values, -values, new, values.repeat(1, 2)[:, :3])
    held = queue.identities[queue.is_filled]
    assert sorted(held.tolist()) == seen[-size:]
    assert torch.equal(queue.images[queue.is_filled][:, 0], held.float())
    assert torch.equal(queue.sounds, -queue.images)
    assert torch.equal(queue.places[queue.is_filled][:, 2], held.float())


def test_a_past_pair_is_a_negative_but_not_of_itself() -> None:
    torch.manual_seed(0)
    loss = SymmetricContrastiveLoss(TEMPERATURE, queue_size=K, embedding_dim=D)
    first, second = (rows(2, 0).float(), rows(2, 1).float()), (rows(2, 2).float(), rows(2, 3).float())
    loss(*first, identity=torch.tensor([1, 2]))
    with_queue = loss(*second, identity=torch.tensor([3, 1]))

    excluded = torch.zeros(2, 4, dtype=torch.bool)
    excluded[1, 2] = True
    images, sounds = second
    expected = literal(images, torch.cat([sounds, first[1]]), excluded)
    expected = (expected + literal(sounds, torch.cat([images, first[0]]), excluded)) / 2
    torch.testing.assert_close(with_queue.detach(), expected.float(), rtol=1e-5, atol=1e-5)
    assert loss.queue is not None
    assert loss.queue.identities.tolist() == [1, 2, 3, 1]


def test_pairs_nearby_are_left_out_of_the_loss() -> None:
    images, sounds = rows(3, 0).float(), rows(3, 1).float()
    place = torch.from_numpy(np.stack([point_on_sphere(*p) for p in ((0, 0), (0.0001, 0), (90, 0))]))
    excluded = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    expected = (literal(images, sounds, excluded) + literal(sounds, images, excluded)) / 2
    ours = SymmetricContrastiveLoss(TEMPERATURE, negatives_from_km=0.05)(images, sounds, place=place)
    torch.testing.assert_close(ours.detach().double(), expected, rtol=1e-5, atol=1e-5)


def test_a_pair_all_of_whose_negatives_are_left_out_has_no_loss() -> None:
    place = torch.from_numpy(np.stack([point_on_sphere(5.0, 5.0)] * 2))
    loss = SymmetricContrastiveLoss(TEMPERATURE, negatives_from_km=1.0)(rows(2, 0), rows(2, 1), place=place)
    assert loss.item() == pytest.approx(0, abs=1e-12)
