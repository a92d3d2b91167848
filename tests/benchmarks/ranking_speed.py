"""Ranks both ways: seconds and memory for growing galleries, beside a pandas ranking for each query.

    python tests/benchmarks/ranking_speed.py [--sizes 1000 5000 10000 20000] [--pandas-queries 200]

The pandas column is how the metric was first published: all distances at once, then one ranking for each query. It is
timed on a sample of the queries and extrapolated. Every row runs in a process of its own, so that peaks don't mix.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pretrain.ranking import both_directions

DIMENSIONS = 128


def embeddings(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image and sound embeddings that match moderately well."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(n, DIMENSIONS)).astype(np.float32)
    return image, (0.3 * image + rng.normal(size=image.shape)).astype(np.float32)


def rank_by_pandas(image: NDArray[np.float32], sound: NDArray[np.float32], queries: int) -> float:
    """Seconds for ranking all queries both ways, from a sample of them."""
    started = time.perf_counter()
    squared = (image**2).sum(1)[:, None] + (sound**2).sum(1)[None] - 2 * image @ sound.T
    distances = np.sqrt(np.maximum(squared, 0))
    seconds = time.perf_counter() - started
    numbers = range(0, len(image), max(1, len(image) // queries))
    started = time.perf_counter()
    for number in numbers:
        pandas.Series(distances[number]).rank()[number]
        pandas.Series(distances[:, number]).rank()[number]
    return seconds + (time.perf_counter() - started) * len(image) / len(numbers)


def measure(n: int, pandas_queries: int) -> tuple[float, float]:
    """Seconds and additional peak memory in MB; of pandas where `pandas_queries` is not 0."""
    image, sound = embeddings(n)
    both_directions(image[:100], sound[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if pandas_queries:
        seconds = rank_by_pandas(image, sound, pandas_queries)
    else:
        started = time.perf_counter()
        both_directions(image, sound)
        seconds = time.perf_counter() - started
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def alone(function: Callable[[int, int], tuple[float, float]], n: int, pandas_queries: int) -> tuple[float, float]:
    """The result of a call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, n, pandas_queries).result()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 10_000, 20_000])
    parser.add_argument("--pandas-queries", type=int, default=200)
    options = parser.parse_args()
    table = Table(title=f"Ranks both ways, {DIMENSIONS} dimensions")
    for heading in ("n", "seconds", "memory, MB", "pandas, seconds", "pandas, MB", "times faster"):
        table.add_column(heading, justify="right")
    for n in options.sizes:
        ours, theirs = alone(measure, n, 0), alone(measure, n, options.pandas_queries)
        cells = (ours[0], ours[1], theirs[0], theirs[1], theirs[0] / ours[0])
        table.add_row(f"{n:,}", *(f"{cell:.2f}" if cell < 10 else f"{cell:.0f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
