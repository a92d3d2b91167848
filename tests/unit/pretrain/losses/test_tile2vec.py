"""Tile2Vec's loss against its literal form and its limits, and the far tiles against distances on the ground."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pretrain.data.views import point_on_sphere
from pretrain.losses import tile2vec
from pretrain.losses.naive_triplet import random_others
from pretrain.losses.tile2vec import random_far_tiles, tile2vec_loss

MARGIN, L2 = 1.5, 0.2


def triplets(n: int = 6, d: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    tiles = torch.randn(3, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    anchors, nears, fars = (part.requires_grad_() for part in tiles)
    return anchors, nears, fars


def literal(anchors: Tensor, nears: Tensor, fars: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for a, n, f in zip(anchors, nears, fars, strict=True):
        hinge = torch.clamp(((a - n) ** 2).sum().sqrt() - ((a - f) ** 2).sum().sqrt() + MARGIN, min=0)
        total = total + hinge + L2 * sum((tile**2).sum().sqrt() for tile in (a, n, f))
    return total / len(anchors)


def test_value_and_gradients_are_those_of_the_literal_form() -> None:
    tiles = triplets()
    loss, expected = tile2vec_loss(*tiles, MARGIN, L2), literal(*tiles)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(
        torch.autograd.grad(3 * loss, tiles), torch.autograd.grad(3 * expected, tiles), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(lambda *tiles: tile2vec_loss(*tiles, MARGIN, L2), tiles)


def test_one_triplet_by_hand() -> None:
    anchor, near, far = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    # Distances 4 and 5, lengths 5, 3 and 0.
    assert tile2vec_loss(anchor, near, far, 2.0, 0.1).item() == pytest.approx(4 - 5 + 2 + 0.1 * 8)
    assert tile2vec_loss(anchor, near, far, 0.5, 0.0).item() == 0
    both = tile2vec_loss(torch.cat([anchor, far]), torch.cat([near, far]), torch.cat([far, far]), 2.0, 0.1)
    assert both.item() == pytest.approx((1.8 + 2) / 2)


def test_near_and_far_can_not_be_exchanged_but_lengths_can() -> None:
    anchors = triplets()[0].detach()
    near, far = anchors, anchors + 100
    assert tile2vec_loss(anchors, far, near, MARGIN, 0).item() == pytest.approx(200 + MARGIN)
    # Without a hinge at work only the lengths are left.
    lengths = sum(tile.norm(dim=1).mean() for tile in (anchors, near, far))
    assert tile2vec_loss(anchors, near, far, MARGIN, L2).item() == pytest.approx(L2 * lengths.item())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_embeddings_that_coincide(value: float) -> None:
    same = torch.full((5, 4), value, requires_grad=True)
    loss = tile2vec_loss(same, same, same[[1, 2, 3, 4, 0]], 50.0, 0.01)
    assert loss.item() == pytest.approx(50 + 0.01 * 3 * 2 * value)
    (gradient,) = torch.autograd.grad(loss, same)
    # Nothing but the lengths pulls: three of them on each of 5 rows, in the direction of the row.
    torch.testing.assert_close(gradient, torch.full((5, 4), 0.01 * 3 / 5 * 0.5 * value))


def test_no_triplet_at_all_has_loss_and_gradient_0() -> None:
    anchors, nears, _ = triplets()
    none = torch.zeros(6, dtype=torch.bool)
    loss = tile2vec_loss(anchors[none], nears[none], anchors[none])
    assert loss.item() == 0
    assert torch.autograd.grad(loss, anchors)[0].eq(0).all()


def test_half_precision_is_computed_in_float32() -> None:
    tiles = [tile.detach().bfloat16() for tile in triplets()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tile2vec_loss(*tiles).dtype == torch.float32


def test_wrong_arguments_are_refused() -> None:
    anchors, nears, fars = triplets()
    for wrong in ((anchors, nears, fars[:3]), (anchors, nears[:, :2], fars), (anchors[0], nears[0], fars[0])):
        with pytest.raises(ValueError, match=r"must have one shape \(n, d\), got"):
            tile2vec_loss(*wrong)
    with pytest.raises(ValueError, match="margin must be > 0, got 0"):
        tile2vec_loss(anchors, nears, fars, 0)
    with pytest.raises(ValueError, match="l2 must be >= 0, got -1"):
        tile2vec_loss(anchors, nears, fars, 1.0, -1)


def places_on(degrees: list[tuple[float, float]]) -> Tensor:
    return torch.from_numpy(np.stack([point_on_sphere(*place) for place in degrees]))


def is_far_by_angle(a: tuple[float, float], b: tuple[float, float], least_degrees: float) -> bool:
    (east, north), (other_east, other_north) = np.radians(a), np.radians(b)
    # Haversine.
    h = math.sin((other_north - north) / 2) ** 2
    h += math.cos(north) * math.cos(other_north) * math.sin((other_east - east) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(h))) > least_degrees


@pytest.mark.parametrize("block", [4, 1024])
def test_far_tiles_are_the_first_ones_beyond_the_distance(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile2vec, "BLOCK", block)
    generator = np.random.default_rng(0)
    degrees = list(zip(generator.uniform(-180, 180, 30), generator.uniform(-85, 85, 30), strict=True))
    least = 2 * math.sin(math.radians(60) / 2)
    for draw in range(20):
        fars, found = random_far_tiles(torch.tensor(draw), places_on(degrees), least)
        first = random_others(30, torch.tensor(draw)).tolist()
        assert found.all()
        for i, far in enumerate(fars.tolist()):
            turns = [(first[i] + step) % 30 for step in range(30)]
            assert far == next(j for j in turns if is_far_by_angle(degrees[i], degrees[j], 60))


def test_a_distance_of_metres_is_told_apart() -> None:
    # 0, 20 and 40 m along a meridian, and the antipode of the first; at least 30 m.
    metre = 360 / 40_030_229
    places = places_on([(10.0, 50.0), (10.0, 50.0 + 20 * metre), (10.0, 50.0 + 40 * metre), (-170.0, -50.0)])
    seen: list[set[int]] = [set(), set(), set(), set()]
    for draw in range(60):
        fars, found = random_far_tiles(torch.tensor(draw), places, 30 / 6_371_008.8)
        assert found.all()
        for i, far in enumerate(fars.tolist()):
            seen[i].add(far)
    assert seen == [{2, 3}, {3}, {0, 3}, {0, 1, 2}]


def test_an_anchor_without_a_far_tile_is_told() -> None:
    # One place three times, and one 100 degrees away: the first three have a far tile, and so has the last.
    places = places_on([(0.0, 0.0)] * 3 + [(100.0, 0.0)])
    fars, found = random_far_tiles(torch.tensor(0), places, 1.0)
    assert found.tolist() == [True] * 4
    assert fars[:3].tolist() == [3, 3, 3]
    assert not random_far_tiles(torch.tensor(0), places[:3], 1.0)[1].any()
    # No place is farther than the antipode, and another at the same place is no far tile at distance 0.
    assert not random_far_tiles(torch.tensor(0), places_on([(0.0, 0.0), (180.0, 0.0)]), 2.0)[1].any()
    assert not random_far_tiles(torch.tensor(0), places[:3], 0.0)[1].any()


def test_in_a_shuffled_batch_every_far_tile_is_as_likely() -> None:
    generator, counts = np.random.default_rng(0), np.zeros(6)
    # Tile 0's neighbours are 1 and 2; 3, 4 and 5 are far, and near each other.
    places = places_on([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (90.0, 0.0), (91.0, 0.0), (92.0, 0.0)])
    for draw in range(3000):
        order = generator.permutation(6)
        fars, _ = random_far_tiles(torch.tensor(draw), places[order], 1.0)
        counts[order[fars[np.flatnonzero(order == 0)[0]]]] += 1
    assert counts[:3].sum() == 0
    assert np.all(np.abs(counts[3:] - 1000) < 110)  # four standard deviations
