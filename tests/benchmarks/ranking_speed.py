"""Ranks both ways: seconds and memory for growing galleries, beside a pandas ranking for each query.

The pandas form is how the metric was first published: all distances, then one ranking for each query. It gets its
distances by matrix product, all at once, and its columns as rows of a transposed copy, because both are faster so.
"""

from __future__ import annotations

import time

import numpy as np
import pandas
from benchmarks.checkouts import compared
from benchmarks.corpus import Workplace
from benchmarks.measuring import alone, fastest, peak_mib_of
from benchmarks.results import Figure, Row, Target
from numpy.typing import NDArray

from pretrain.ranking import both_directions

SUITE = "ranks"
IS_RUN_BY_BOTH = True
DIMENSIONS = 128
SIZES, QUICK_SIZES, LARGEST = (1000, 5000, 10_000, 20_000), (200,), 100_000
MOST_PANDAS_QUERIES = 10_000
"""In larger galleries, only this many queries are timed; the time of all is extrapolated."""

TARGETS = (
    Target(
        "pandas / ours, time of all ranks both ways at n = 10,000",
        Figure(SUITE, "pandas, n = 10,000", "seconds"),
        Figure(SUITE, "ours, n = 10,000", "seconds"),
        15,
        aim=50,
    ),
    Target(
        "ours / one float32 matrix product, n = 10,000",
        Figure(SUITE, "ours, n = 10,000", "seconds"),
        Figure(SUITE, "matrix product, n = 10,000", "seconds"),
        2,
        at_most=True,
    ),
    compared("all ranks both ways at n = 10,000", SUITE, "ours, n = 10,000", "seconds", 0.4 / 0.84),
    Target(
        "memory at n = 100,000", Figure(SUITE, "ours, n = 100,000", "peak_mib"), None, 2048, at_most=True, unit="MiB"
    ),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """All forms at every size, each in a process of its own."""
    rows = []
    if not place.quick:
        seconds, peak_mib = alone(rank_by_ours, LARGEST, 1)
        rows.append(Row(SUITE, f"ours, n = {LARGEST:,}", {"seconds": seconds, "peak_mib": peak_mib}))
    for n in QUICK_SIZES if place.quick else SIZES:
        for name, form in FORMS.items():
            seconds, peak_mib = alone(form, n)
            rows.append(Row(SUITE, f"{name}, n = {n:,}", {"seconds": seconds, "peak_mib": peak_mib}))
    return rows


def embeddings(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image and sound embeddings that match moderately well."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(n, DIMENSIONS)).astype(np.float32)
    return image, (0.3 * image + rng.normal(size=image.shape)).astype(np.float32)


def rank_by_ours(n: int, repeats: int = 3) -> tuple[float, float]:
    """Seconds and additional peak memory in MiB of our ranks both ways."""
    image, sound = embeddings(n)
    both_directions(image[:100], sound[:100])
    seconds, peak_mib = peak_mib_of(lambda: fastest(lambda: both_directions(image, sound), 1))
    again = (fastest(lambda: both_directions(image, sound), 1) for _ in range(repeats - 1))
    return min([seconds, *again]), peak_mib


def multiply(n: int) -> tuple[float, float]:
    """The same of what no ranking can do without: the products of all pairs, at once, in float32."""
    image, sound = embeddings(n)
    return peak_mib_of(lambda: fastest(lambda: image @ sound.T, 3))


def rank_by_pandas(n: int) -> tuple[float, float]:
    """The same of a pandas ranking for each query."""
    image, sound = embeddings(n)
    pandas.Series(image[0]).rank()
    return peak_mib_of(lambda: pandas_seconds(image, sound))


def pandas_seconds(image: NDArray[np.float32], sound: NDArray[np.float32]) -> float:
    """Seconds for ranking all queries both ways."""
    started = time.perf_counter()
    squared = (image**2).sum(1)[:, None] + (sound**2).sum(1)[None] - 2 * image @ sound.T
    distances = np.sqrt(np.maximum(squared, 0))
    of_sounds = np.ascontiguousarray(distances.T)
    seconds = time.perf_counter() - started
    numbers = range(0, len(image), max(1, len(image) // MOST_PANDAS_QUERIES))
    started = time.perf_counter()
    for number in numbers:
        pandas.Series(distances[number]).rank()[number]
        pandas.Series(of_sounds[number]).rank()[number]
    return seconds + (time.perf_counter() - started) * len(image) / len(numbers)


FORMS = {"ours": rank_by_ours, "matrix product": multiply, "pandas": rank_by_pandas}
