"""The search of a GPU, with faiss' CPU index in its place: many queries at once give what one by one gives."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from retrieval import index
from retrieval.index import Lists, NearestNeighbours, copied_to_gpu, distances_of_nearest


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Takes faiss' CPU index for one on a GPU; the sizes of the batches that it was asked for."""
    asked: list[int] = []

    class OnGpu:
        def __init__(self, flat: Any) -> None:
            self._flat = faiss.clone_index(flat)

        def search(self, queries: np.ndarray, count: int) -> Any:
            assert count <= index.MOST_GPU_CANDIDATES
            asked.append(len(queries))
            return self._flat.search(queries, count)

    monkeypatch.setattr(index, "copied_to_gpu", OnGpu)
    return asked


def a_gallery() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    gallery = generator.standard_normal((3000, 8))
    gallery[100:150] = gallery[:50]  # ties
    gallery[200:260] = gallery[200] + 1e-9 * generator.standard_normal((60, 8))  # nearer than float32 can tell
    return gallery, np.concatenate([gallery[:40], gallery[195:215], generator.standard_normal((30, 8))])


@pytest.mark.parametrize("count", [1, 10, 2100, 3000])
def test_batches_on_a_gpu_give_the_same_neighbours(count: int, gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, queries = a_gallery()
    monkeypatch.setattr(index, "QUERIES_AT_ONCE", 64)
    numbers, distances = NearestNeighbours(gallery).search(queries, count)
    assert (max(gpu, default=0) == 64) == (count < 2000)
    monkeypatch.setattr(index, "copied_to_gpu", lambda flat: None)
    for ours, theirs in zip((numbers, distances), NearestNeighbours(gallery).search(queries, count), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    exact = np.sqrt(np.square(gallery[None] - queries[:, None]).sum(axis=2))
    np.testing.assert_array_equal(numbers, np.argsort(exact, axis=1, kind="stable")[:, :count])


def test_without_a_gpu_everything_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "gpu_resources", lambda: None)
    assert copied_to_gpu(faiss.IndexFlatL2(4)) is None


def test_a_gpu_without_memory_leaves_the_search_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("Error in faiss::gpu: out of memory")

    monkeypatch.setattr(index, "gpu_resources", object)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", refuse, raising=False)
    gallery, queries = a_gallery()
    search = NearestNeighbours(gallery)
    assert search._gpu_index is None
    np.testing.assert_array_equal(search.search(queries[:5], 1)[0][:, 0], np.arange(5))


def test_lists_are_trained_by_an_index_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    made: list[Any] = []

    def copied(flat: Any) -> Any:
        made.append(faiss.clone_index(flat))
        return made[-1]

    monkeypatch.setattr(index, "copied_to_gpu", copied)
    on_gpu = Lists.of(gallery, 20)
    assert made[0].ntotal == 20  # the centroids of the last round
    monkeypatch.setattr(index, "copied_to_gpu", lambda flat: None)
    on_cpu = Lists.of(gallery, 20)
    for query in gallery[:20]:
        np.testing.assert_array_equal(on_gpu.propose(query, 10, 4), on_cpu.propose(query, 10, 4))


def test_nearest_distances_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, queries = (array.astype(np.float32) for array in a_gallery())
    wanted = distances_of_nearest(gallery, queries, 5)
    asked: list[int] = []

    def knn_gpu(_: Any, queries: np.ndarray, gallery: np.ndarray, count: int) -> Any:
        asked.append(count)
        return faiss.knn(queries, gallery, count)

    monkeypatch.setattr(index, "gpu_resources", object)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    np.testing.assert_array_equal(distances_of_nearest(gallery, queries, 5), wanted)
    assert asked == [5 + index.SPARE_CANDIDATES]
