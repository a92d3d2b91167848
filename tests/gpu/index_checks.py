"""Nearest neighbours: ours against all distances in float64, and with faiss on the GPU against without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from gpu.items import Place, Skipped
from numpy.typing import NDArray

NUM_QUERIES, COUNT, DIMENSIONS = 64, 10, 128


def gallery_and_queries(place: Place) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random embeddings, some of the gallery twice."""
    generator = np.random.default_rng(0)
    gallery = generator.standard_normal((50_000 if place.is_gpu else 2000, DIMENSIONS)).astype(np.float32)
    gallery[100:110] = gallery[:10]
    queries = gallery[:NUM_QUERIES] + 0.3 * generator.standard_normal((NUM_QUERIES, DIMENSIONS)).astype(np.float32)
    return gallery, queries.astype(np.float32)


def ours_is_exact(place: Place) -> dict[str, Any]:
    """The neighbours of `NearestNeighbours` against all distances, computed on the device in float64.

    Raises:
        AssertionError: one differs.
    """
    from retrieval.index import NearestNeighbours

    gallery, queries = gallery_and_queries(place)
    numbers, distances = NearestNeighbours(gallery).search(queries, COUNT)
    rows, wanted = (torch.from_numpy(array).double().to(place.device) for array in (gallery, queries))
    exact = torch.stack([(rows - query).square().sum(1).sqrt() for query in wanted]).cpu().numpy()
    order = np.argsort(exact, axis=1, kind="stable")[:, :COUNT]
    nearest = np.take_along_axis(exact, order, axis=1)
    assert np.abs(nearest - distances).max() <= 1e-9 * nearest.max(), "the distances are not those of float64"
    assert (numbers == order).all(), "the neighbours are not the nearest, or ties are not in order"
    return {"gallery": len(gallery), "queries": len(queries)}


def gpu_equals_cpu(place: Place) -> dict[str, Any]:
    """Exact search, many at once and one by one, and the explorer's lists, with faiss on the GPU and without it.

    Raises:
        Skipped: this faiss has no GPU.
        AssertionError: a neighbour or a distance differs, or the lists that the GPU trained find fewer neighbours.
    """
    from retrieval import index

    if index.gpu_resources() is None:
        raise Skipped("missing: a faiss built for the GPU that finds one")
    gallery, queries = gallery_and_queries(place)
    found: dict[bool, Any] = {}
    seconds: dict[bool, float] = {}
    for with_gpu in (True, False):
        with nullcontext() if with_gpu else without_gpu():
            search = index.NearestNeighbours(gallery)
            assert (search._gpu_index is not None) == with_gpu
            search.search(queries[:2], COUNT)
            started = time.perf_counter()
            found[with_gpu] = (
                *search.search(queries, COUNT),
                *search.search(queries[:1], COUNT),
                # More than a GPU can look for.
                *search.search(queries[:2], 3000),
                index.distances_of_nearest(gallery, queries, COUNT),
            )
            seconds[with_gpu] = time.perf_counter() - started
            lists = index.Lists.of(gallery, 100)
            numbers = found[with_gpu][0]
            shares = [np.isin(numbers[row], lists.propose(query, 40, 20)).mean() for row, query in enumerate(queries)]
            found[with_gpu] = (*found[with_gpu], float(np.mean(shares)))
    for ours, theirs in zip(found[True][:-1], found[False][:-1], strict=True):
        assert (ours == theirs).all(), "the GPU gives other neighbours or distances"
    recalls = found[True][-1], found[False][-1]
    assert recalls[0] >= recalls[1] - 0.05, (
        f"lists trained on the GPU find {recalls[0]:.3f}, on the CPU {recalls[1]:.3f}"
    )
    return {
        "seconds, GPU": seconds[True],
        "seconds, CPU": seconds[False],
        "recall of lists, GPU": recalls[0],
        "recall of lists, CPU": recalls[1],
    }


@contextmanager
def without_gpu() -> Iterator[None]:
    """Hides the GPU from `retrieval.index`."""
    from retrieval import index

    found = index.gpu_resources
    index.gpu_resources = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        index.gpu_resources = found
