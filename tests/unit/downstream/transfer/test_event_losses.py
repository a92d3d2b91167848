"""Losses on sound events: against literal references, gradients in float64, limits, and the eigenvector's direction."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from downstream.transfer.event_losses import (
    binary_kl,
    event_distribution,
    events_loss,
    events_of_scenes,
    kl_loss,
    squared_loss,
)

DOUBLE = torch.float64
SCENES, EVENTS = 3, 5


def drawn(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def coin(p: float, q: float) -> float:
    """C(p ‖ q) as it is written."""
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def of_logits(teacher: Tensor, student: Tensor) -> Tensor:
    return binary_kl(teacher, torch.nn.functional.logsigmoid(student), torch.nn.functional.logsigmoid(-student))


moderate = st.floats(-12, 12)


@given(moderate, moderate)
def test_binary_kl_is_what_is_written(teacher: float, student: float) -> None:
    got = of_logits(torch.tensor(teacher, dtype=DOUBLE), torch.tensor(student, dtype=DOUBLE)).item()
    assert got == pytest.approx(coin(sigmoid(teacher), sigmoid(student)), rel=1e-6, abs=1e-9)


@given(st.floats(-500, 500), st.floats(-500, 500), st.sampled_from([torch.float32, DOUBLE]))
def test_binary_kl_is_a_divergence_and_finite_anywhere(teacher: float, student: float, dtype: torch.dtype) -> None:
    p, q = torch.tensor(teacher, dtype=dtype), torch.tensor(student, dtype=dtype, requires_grad=True)
    value = of_logits(p, q)
    value.backward()
    assert q.grad is not None
    assert math.isfinite(value.item())
    assert math.isfinite(q.grad.item())
    assert value.item() >= -1e-6
    assert of_logits(p, p).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_binary_kl_where_p_is_exactly_0_or_1(dtype: torch.dtype) -> None:
    sure = torch.tensor([math.inf, -math.inf], dtype=dtype)
    student = torch.tensor([0.5, 0.5], dtype=dtype)
    expected = [-math.log(sigmoid(0.5)), -math.log(1 - sigmoid(0.5))]
    assert of_logits(sure, student).tolist() == pytest.approx(expected, rel=1e-5)
    # p = q at the ends, too.
    assert of_logits(sure, sure).tolist() == [0, 0]


def test_kl_and_squared_loss_against_loops() -> None:
    teacher, student = drawn(4, EVENTS, seed=0), drawn(4, EVENTS, seed=1)
    for i in range(4):
        pairs = list(zip(teacher[i].tolist(), student[i].tolist(), strict=True))
        kl = sum(coin(sigmoid(t), sigmoid(s)) for t, s in pairs)
        squares = sum((t - s) ** 2 for t, s in pairs)
        assert kl_loss(teacher, student)[i].item() == pytest.approx(kl)
        assert squared_loss(teacher, student)[i].item() == pytest.approx(squares)
        assert kl_loss(teacher, student, "mean")[i].item() == pytest.approx(kl / EVENTS)
        assert squared_loss(teacher, student, "mean")[i].item() == pytest.approx(squares / EVENTS)
    assert kl_loss(teacher, teacher).tolist() == [0] * 4
    assert squared_loss(teacher, teacher).tolist() == [0] * 4


def leading_direction(probabilities: list[list[float]]) -> list[float]:
    """Power iteration on PᵀP, by loops, from a vector without a sign to choose."""
    direction = [1.0] * len(probabilities[0])
    for _ in range(500):
        projected = [sum(p * d for p, d in zip(row, direction, strict=True)) for row in probabilities]
        direction = [
            sum(row[i] * weight for row, weight in zip(probabilities, projected, strict=True))
            for i in range(len(direction))
        ]
        length = math.sqrt(sum(d * d for d in direction))
        direction = [d / length for d in direction]
    return direction


def test_what_sounds_in_each_scene_against_loops() -> None:
    teacher = drawn(20, EVENTS, seed=2)
    labels = torch.arange(20) % SCENES
    known = events_of_scenes(teacher, labels, SCENES)
    for scene in range(SCENES):
        rows = [[sigmoid(t) for t in row] for row in teacher[labels == scene].tolist()]
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        assert known.log_present[scene].exp().tolist() == pytest.approx(mean)
        assert known.log_absent[scene].exp().tolist() == pytest.approx([1 - p for p in mean])
        assert known.directions[scene].tolist() == pytest.approx(leading_direction(rows), abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 60))
def test_directions_are_of_length_1_and_point_where_probabilities_do(seed: int, scale: float) -> None:
    teacher = drawn(9, 7, seed=seed, scale=scale)
    known = events_of_scenes(teacher, torch.arange(9) % 3, 3)
    assert (known.directions >= 0).all()
    assert known.directions.norm(dim=1).tolist() == pytest.approx([1] * 3)
    # Each sample has an angle of less than a right one to its scene's direction.
    cosines = torch.nn.functional.cosine_similarity(known.directions[torch.arange(9) % 3], teacher.sigmoid())
    assert (cosines >= -1e-12).all()


def test_a_scene_without_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="scene 2 has no sample"):
        events_of_scenes(drawn(4, EVENTS, seed=0), torch.tensor([0, 1, 0, 1]), 3)


def slow_events_loss(
    scenes: Tensor, teacher: Tensor, labels: Tensor, training: Tensor, its: Tensor, beta: float
) -> list[float]:
    """L_E by loops over pairs, scenes and events."""
    losses = []
    rows_of = [[[sigmoid(t) for t in row] for row in training[its == k].tolist()] for k in range(SCENES)]
    given_scene = [[sum(column) / len(rows) for column in zip(*rows, strict=True)] for rows in rows_of]
    for i, label in enumerate(labels.tolist()):
        odds = [math.exp(score) for score in scenes[i].tolist()]
        p_scene = [odd / sum(odds) for odd in odds]
        p_event = [sum(p_scene[k] * given_scene[k][e] for k in range(SCENES)) for e in range(EVENTS)]
        first = sum(coin(sigmoid(teacher[i, e].item()), p_event[e]) for e in range(EVENTS))
        direction = leading_direction(rows_of[label])
        dot = sum(d * p for d, p in zip(direction, p_event, strict=True))
        cosine = dot / math.sqrt(sum(p * p for p in p_event)) / math.sqrt(sum(d * d for d in direction))
        losses.append(first + beta * (1 - cosine))
    return losses


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_events_loss_against_loops(beta: float) -> None:
    training, its = drawn(15, EVENTS, seed=3), torch.arange(15) % SCENES
    scenes, teacher, labels = drawn(6, SCENES, seed=4), drawn(6, EVENTS, seed=5), torch.arange(6) % SCENES
    known = events_of_scenes(training, its, SCENES)
    got = events_loss(scenes, teacher, labels, known, beta=beta).tolist()
    assert got == pytest.approx(slow_events_loss(scenes, teacher, labels, training, its, beta))
    if beta == 0:
        mean = events_loss(scenes, teacher, labels, known, beta=beta, over_events="mean")
        assert (EVENTS * mean).tolist() == pytest.approx(got)


def test_events_loss_is_0_where_the_scene_explains_the_sound() -> None:
    # One sample a scene: p(e|s_k) and d_k are that sample's own, and a sure prediction of it gives p = q.
    teacher = drawn(SCENES, EVENTS, seed=6)
    labels = torch.arange(SCENES)
    known = events_of_scenes(teacher, labels, SCENES)
    sure = 200.0 * torch.eye(SCENES, dtype=DOUBLE)
    assert events_loss(sure, teacher, labels, known, beta=1.0).tolist() == pytest.approx([0] * SCENES, abs=1e-9)
    assert (events_loss(sure.roll(1, 1), teacher, labels, known, beta=1.0) > 0.01).all()


def test_making_the_second_loss_small_aligns() -> None:
    training, its = drawn(12, EVENTS, seed=7), torch.arange(12) % SCENES
    known = events_of_scenes(training, its, SCENES)
    labels = torch.arange(SCENES)
    scores = torch.zeros(SCENES, SCENES, dtype=DOUBLE, requires_grad=True)
    teacher = drawn(SCENES, EVENTS, seed=8)

    def second() -> Tensor:
        losses = [events_loss(scores, teacher, labels, known, beta=beta) for beta in (0.0, 1.0)]
        return (losses[1] - losses[0]).sum()

    values = []
    for _ in range(30):
        value = second()
        values.append(value.item())
        (gradient,) = torch.autograd.grad(value, scores)
        scores = (scores - 5 * gradient).detach().requires_grad_()
    assert all(later <= earlier for earlier, later in pairwise(values))
    # Without any label: the scene whose direction it is becomes the most probable.
    assert scores.argmax(1).tolist() == labels.tolist()


def test_probabilities_stay_finite_where_the_teacher_is_sure() -> None:
    sure = torch.tensor([[400.0, -400.0], [400.0, -400.0], [-400.0, 400.0]])
    labels = torch.tensor([0, 0, 1])
    known = events_of_scenes(sure, labels, 2)
    scores = torch.tensor([[0.0, 0.0], [90.0, -90.0], [90.0, -90.0]], requires_grad=True)
    loss = events_loss(scores, sure, labels, known, beta=0.001)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert loss[1].item() == pytest.approx(0, abs=1e-6)
    assert loss[2].item() > 100


def test_event_distribution_is_a_mixture_and_sums_to_1() -> None:
    known = events_of_scenes(drawn(9, EVENTS, seed=9), torch.arange(9) % SCENES, SCENES)
    present, absent = event_distribution(drawn(4, SCENES, seed=10), known)
    np.testing.assert_allclose((present.exp() + absent.exp()).numpy(), 1)


def test_gradients_in_float64() -> None:
    teacher, labels = drawn(3, EVENTS, seed=11), torch.tensor([0, 2, 1])
    known = events_of_scenes(drawn(9, EVENTS, seed=12), torch.arange(9) % SCENES, SCENES)
    student = drawn(3, EVENTS, seed=13).requires_grad_()
    scenes = drawn(3, SCENES, seed=14).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: kl_loss(teacher, s), (student,))
    assert torch.autograd.gradcheck(lambda s: squared_loss(teacher, s), (student,))
    assert torch.autograd.gradcheck(lambda s: events_loss(s, teacher, labels, known, beta=0.7), (scenes,))
