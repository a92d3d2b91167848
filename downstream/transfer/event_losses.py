"""The losses that transfer sound events to scenes (Hu et al., ECCV 2020, Eqs. 3 to 9): pure functions of tensors.

Notation: f_e are probabilities of sound events, the sigmoid of pre-activations; a is the sound, x image and sound;
N_a0 is the frozen teacher, N_a and N_v+a are the networks in training. All losses come a row an item, unreduced over
the items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def binary_kl(teacher: Tensor, log_present: Tensor, log_absent: Tensor) -> Tensor:
    """C(p ‖ q) = p log(p/q) + (1 − p) log((1 − p)/(1 − q)), the Kullback-Leibler divergence of two coins.

    Table 1 of the paper prints log(p/q) without the leading p; with it C is a divergence: not negative, and 0 only at
    p = q. Logarithms are taken of pre-activations, never of probabilities: at p = 0 or 1 the value is finite.

    Args:
        teacher: pre-activations whose sigmoid is p; ±infinity stands for 1 and 0.
        log_present: log q, of the same shape.
        log_absent: log(1 − q), of the same shape.

    Returns:
        C of each element.
    """
    p, not_p = teacher.sigmoid(), (-teacher).sigmoid()
    log_p, log_not_p, log_q, log_not_q = map(
        _bounded, (F.logsigmoid(teacher), F.logsigmoid(-teacher), log_present, log_absent)
    )
    return p * (log_p - log_q) + not_p * (log_not_p - log_not_q)


def _bounded(logarithm: Tensor) -> Tensor:
    """The logarithm of 0 as the smallest number there is, so that 0 times it is 0."""
    return logarithm.clamp_min(torch.finfo(logarithm.dtype).min)


def kl_loss(teacher: Tensor, student: Tensor, over_events: str = "sum") -> Tensor:
    """L_KL: Σ_i C([f_e(a, N_a0)]_i ‖ [f_e]_i), the student's f_e from N_a (Eq. 3) or from N_v+a (Eq. 4).

    Args:
        teacher: (n, events) pre-activations of the frozen network.
        student: (n, events) pre-activations of the one in training.
        over_events: "sum", the paper's, or "mean".

    Returns:
        (n,), ≥ 0.
    """
    return _over(binary_kl(teacher, F.logsigmoid(student), F.logsigmoid(-student)), over_events)


def squared_loss(teacher: Tensor, student: Tensor, over_events: str = "sum") -> Tensor:
    """L_SQ: ‖f̂_e(a, N_a0) − f̂_e‖², between pre-activations (Eq. 5).

    Args:
        teacher: (n, events) pre-activations of the frozen network.
        student: (n, events) pre-activations of the one in training.
        over_events: "sum", the paper's, or "mean".

    Returns:
        (n,), ≥ 0.
    """
    return _over((teacher - student).square(), over_events)


def _over(values: Tensor, how: str) -> Tensor:
    return values.sum(1) if how == "sum" else values.mean(1)


@dataclass(frozen=True)
class SceneEvents:
    """Mean event probabilities of each scene, by the teacher, over the training samples.

    Attributes:
        log_present: (scenes, events), log p(e|s_k), where p(e|s_k) is the mean of f_e(a, N_a0) over scene k.
        log_absent: (scenes, events), log(1 − p(e|s_k)).
        directions: (scenes, events), d_k, of length 1, with no entry below 0.
    """

    log_present: Tensor
    log_absent: Tensor
    directions: Tensor


def events_of_scenes(teacher: Tensor, labels: Tensor, num_scenes: int) -> SceneEvents:
    """p(e|s_k) and d_k of each scene (section 4.3).

    d_k is the eigenvector of the largest eigenvalue of P(e|s_k)ᵀ P(e|s_k), where P has a row of probabilities for each
    sample. An eigenvector has neither length nor sign; ours has length 1, and the sign under which it is not negative:
    P has no negative entry, so by Perron and Frobenius there is one, and it is the only one where all entries of P are
    above 0, as sigmoids are. So d_k points into the same orthant as every p(e).

    Args:
        teacher: (n, events) pre-activations of the frozen network for the training samples.
        labels: (n,) scenes.
        num_scenes: each has at least one sample.

    Returns:
        In `teacher`'s type; computed in float64.

    Raises:
        ValueError: a scene without a sample.
    """
    present, absent, directions = [], [], []
    for scene in range(num_scenes):
        own = teacher[labels == scene].double()
        if len(own) == 0:
            raise ValueError(f"scene {scene} has no sample to take its sound events from")
        present.append(_log_mean(F.logsigmoid(own)))
        absent.append(_log_mean(F.logsigmoid(-own)))
        probabilities = own.sigmoid()
        leading = torch.linalg.eigh(probabilities.T @ probabilities).eigenvectors[:, -1]
        # Entries that rounding leaves a little below 0 belong on it.
        upright = (leading * (1 if leading.sum() >= 0 else -1)).clamp_min(0)
        directions.append(F.normalize(upright, dim=0))
    return SceneEvents(*(torch.stack(rows).to(teacher.dtype) for rows in (present, absent, directions)))


def _log_mean(logarithms: Tensor) -> Tensor:
    """Logarithm of the mean over rows of the exponentials."""
    return logarithms.logsumexp(0) - math.log(len(logarithms))


def event_distribution(scenes: Tensor, known: SceneEvents) -> tuple[Tensor, Tensor]:
    """p(e) = Σ_k p(s_k) p(e|s_k), with p(s) the softmax of the scene's scores (Eq. 6).

    Args:
        scenes: (n, scenes) scores, before the softmax.
        known: what sounds in each scene.

    Returns:
        log p(e) and log(1 − p(e)), (n, events) each.
    """
    weights = scenes.log_softmax(1)[:, :, None]
    return (weights + known.log_present).logsumexp(1), (weights + known.log_absent).logsumexp(1)


def events_loss(
    scenes: Tensor, teacher: Tensor, labels: Tensor, known: SceneEvents, *, beta: float, over_events: str = "sum"
) -> Tensor:
    """L_E = L_E1 + β L_E2 (Eqs. 7 to 9).

    L_E1 = Σ_i C([f_e(a, N_a0)]_i ‖ p(e_i)). L_E2 = 1 − cos(d_t, p(e)) for the true scene t. The paper writes
    L_E2 = cosine(d_t, p(e)) and says that it is to align the two; the cosine itself would turn them away from each
    other when it is made small, so "cosine" is the cosine distance, as in its authors' code. Both vectors have no
    entry below 0: L_E2 is in [0, 1].

    Args:
        scenes: (n, scenes) scores, before the softmax.
        teacher: (n, events) pre-activations of the frozen network.
        labels: (n,) the true scenes.
        known: what sounds in each scene.
        beta: weight of L_E2.
        over_events: of L_E1, "sum", the paper's, or "mean".

    Returns:
        (n,), ≥ 0.
    """
    log_present, log_absent = event_distribution(scenes, known)
    first = _over(binary_kl(teacher, log_present, log_absent), over_events)
    second = 1 - F.cosine_similarity(known.directions[labels], log_present.exp(), dim=1)
    return first + beta * second
