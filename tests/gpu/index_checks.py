"""Nearest neighbours: ours against all distances in float64, and faiss on the GPU against ours."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from gpu.items import Place, Skipped
from numpy.typing import NDArray

NUM_QUERIES, COUNT, DIMENSIONS = 64, 10, 128
TOLERANCE = 1e-3
"""Of squared distances from faiss in float32, relative to the largest squared norm."""


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


def gpu_equals_ours(place: Place) -> dict[str, Any]:
    """faiss' flat index on the GPU against `NearestNeighbours`, and the milliseconds of a query of each.

    Raises:
        Skipped: this faiss has no GPU.
        AssertionError: a distance differs by more than float32 explains.
    """
    import faiss

    from retrieval.index import NearestNeighbours

    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        raise Skipped("missing: a faiss built for the GPU that finds one")
    gallery, queries = gallery_and_queries(place)
    ours = NearestNeighbours(gallery)
    index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, faiss.IndexFlatL2(DIMENSIONS))
    index.add(gallery)
    index.search(queries, COUNT)
    started = time.perf_counter()
    squared, _ = index.search(queries, COUNT)
    gpu_seconds = time.perf_counter() - started
    started = time.perf_counter()
    _, distances = ours.search(queries, COUNT)
    seconds = time.perf_counter() - started
    apart = np.abs(squared - distances**2).max() / np.square(gallery).sum(axis=1).max()
    assert apart <= TOLERANCE, f"squared distances differ by {apart:.2g} of the largest norm, allowed {TOLERANCE:g}"
    return {
        "ms_a_query, GPU, all at once": 1000 * gpu_seconds / len(queries),
        "ms_a_query, ours on the CPU, one by one": 1000 * seconds / len(queries),
        "worst": float(apart),
    }
