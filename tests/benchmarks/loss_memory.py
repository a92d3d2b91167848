"""Batch triplet loss: time and peak memory of a forward and backward pass against the batch, beside its rivals.

The rivals are Algorithm 1 of SoundingEarth as printed, its distances replaced by torch.cdist, and
pytorch-metric-learning's triplet loss over all triplets in both directions, where that is installed. A form that
would take more than the memory that is free is not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from benchmarks.corpus import Workplace
from benchmarks.measuring import alone, free_memory_mib, machine, peak_mib_of
from benchmarks.results import Figure, Row, Target
from torch import Tensor

from pretrain.losses.batch_triplet import plain_total
from pretrain.losses.batch_triplet_tiled import tiled_total

SUITE = "loss"
DIMENSIONS = 128
SIZES, QUICK_SIZES = (512, 2048, 8192, 16_384), (64,)


def ours_plain(image: Tensor, sound: Tensor) -> Tensor:
    """The whole distance matrix by matrix product."""
    return plain_total(image, sound, 1.0)


def ours_tiled(image: Tensor, sound: Tensor) -> Tensor:
    """The distance matrix tile by tile."""
    return tiled_total(image, sound, 1.0)


def hinges(distances: Tensor) -> Tensor:
    """The last three lines of Algorithm 1."""
    true = distances.diagonal()
    by_column = torch.sum(torch.relu(true.unsqueeze(0) - distances + 1.0))
    by_row = torch.sum(torch.relu(true.unsqueeze(1) - distances + 1.0))
    return by_column + by_row


def algorithm_1(image: Tensor, sound: Tensor) -> Tensor:
    """As printed: all differences first, n × n × d numbers."""
    differences = image.unsqueeze(1) - sound.unsqueeze(0)
    return hinges(torch.norm(differences, dim=2))


def by_cdist(image: Tensor, sound: Tensor) -> Tensor:
    """Algorithm 1 with torch's own distance matrix."""
    return hinges(torch.cdist(image, sound))


def metric_learning(image: Tensor, sound: Tensor) -> Tensor:
    """pytorch-metric-learning over all triplets, images as anchors and then sounds."""
    from pytorch_metric_learning.distances import LpDistance  # type: ignore[import-not-found]
    from pytorch_metric_learning.losses import TripletMarginLoss  # type: ignore[import-not-found]
    from pytorch_metric_learning.reducers import SumReducer  # type: ignore[import-not-found]

    loss = TripletMarginLoss(margin=1.0, distance=LpDistance(normalize_embeddings=False), reducer=SumReducer())
    labels = torch.arange(len(image))
    others = labels.clone()  # the same tensor would be taken for the same embeddings
    by_row: Tensor = loss(image, labels, ref_emb=sound, ref_labels=others)
    by_column: Tensor = loss(sound, labels, ref_emb=image, ref_labels=others)
    return by_row + by_column


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[int, int], float]]] = {
    # Beside each form about the bytes that it holds at its peak, for n pairs of d dimensions.
    "tiled": (ours_tiled, lambda n, d: 4 * 8 * n * d),
    "plain": (ours_plain, lambda n, d: 4 * 16 * n * n),
    "torch.cdist": (by_cdist, lambda n, d: 4 * 8 * n * n),
    "Algorithm 1": (algorithm_1, lambda n, d: 4 * 3 * n * n * d),
    "pytorch-metric-learning": (metric_learning, lambda n, d: 4 * 28 * n * n),
}
TILED, PRINTED = "tiled", "Algorithm 1"

TARGETS = (
    Target(
        "Algorithm 1 / ours, time at n = 2,048",
        Figure(SUITE, f"{PRINTED}, n = 2,048", "ms"),
        Figure(SUITE, f"{TILED}, n = 2,048", "ms"),
        100,
    ),
    Target(
        "Algorithm 1 / ours, memory at n = 2,048",
        Figure(SUITE, f"{PRINTED}, n = 2,048", "peak_mib"),
        Figure(SUITE, f"{TILED}, n = 2,048", "peak_mib"),
        50,
    ),
    Target(
        "memory at n = 16,384",
        Figure(SUITE, f"{TILED}, n = 16,384", "peak_mib"),
        None,
        2048,
        at_most=True,
        unit="MiB",
    ),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Every form at every size."""
    return [measure_form(name, n) for n in (QUICK_SIZES if place.quick else SIZES) for name in FORMS]


def measure_form(name: str, n: int) -> Row:
    """One form at one size, in a process of its own."""
    case = f"{name}, n = {n:,}"
    if name == "pytorch-metric-learning" and find_spec("pytorch_metric_learning") is None:
        return Row(SUITE, case, why_not="pip install pytorch-metric-learning, or pip install -e '.[benchmark]'")
    needed_mib = FORMS[name][1](n, DIMENSIONS) / 2**20
    if needed_mib > 0.7 * free_memory_mib():
        return Row(SUITE, case, why_not=f"needs {needed_mib / 1024:,.0f} GiB")
    seconds, peak_mib = alone(time_and_peak, name, n)
    return Row(SUITE, case, {"ms": 1000 * seconds, "peak_mib": peak_mib})


def time_and_peak(name: str, n: int) -> tuple[float, float]:
    """Seconds of the fastest pass, and the peak of a pass in MiB over what the process held before."""
    torch.set_num_threads(machine()["cores"])
    form = FORMS[name][0]
    pass_seconds(form, *embeddings(8))  # what is loaded and built once is not counted
    pair = embeddings(n)
    seconds, peak_mib = peak_mib_of(lambda: pass_seconds(form, *pair))
    repeats = max(2, min(20, int(3 / seconds)))
    return min(seconds, *(pass_seconds(form, *pair) for _ in range(repeats))), peak_mib


def pass_seconds(form: Callable[[Tensor, Tensor], Tensor], image: Tensor, sound: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    started = time.perf_counter()
    torch.autograd.grad(form(image, sound), (image, sound))
    return time.perf_counter() - started


def embeddings(n: int) -> tuple[Tensor, Tensor]:
    """Image and sound embeddings that match moderately well."""
    image, noise = torch.randn(2, n, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    return image.requires_grad_(), (0.3 * image.detach() + noise).requires_grad_()
