"""Nearest neighbours in an embedding space; the one file that imports faiss."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32_SLACK = 1e-5
"""Bound on the relative error of a squared distance from faiss, computed in float32."""
DIFFERENCES_SLACK = 1e-4
"""Bound on the relative error of a sum of squared differences, in up to a few thousand dimensions."""
TRAINING_ROWS_PER_LIST = 64
TRAINING_ROUNDS = 10
ROWS_AT_ONCE = 65_536
"""Rows of a gallery read into memory at once."""
SPARE_CANDIDATES = 16
"""Candidates beyond the number of results, so that rounding rarely hides one of them."""
PARALLEL_OVER_LISTS = 1
"""faiss' mode in which the threads share the lists of a single query, not the queries."""
MOST_GPU_CANDIDATES = 2048
"""faiss on a GPU finds at most this many neighbours; more are searched for on the CPU."""
QUERIES_AT_ONCE = 1024
GPU_LOCK = threading.Lock()
"""faiss' resources of a GPU can be used by one thread at a time, whatever the index."""


@cache
def gpu_resources() -> Any:
    """faiss' memory and streams on the first GPU; None if there is no GPU, or faiss was built without.

    CUDA_VISIBLE_DEVICES chooses the GPU; if it is empty, everything stays on the CPU.
    """
    import faiss

    # faiss-cpu has neither.
    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        return None
    return faiss.StandardGpuResources()


def copied_to_gpu(index: Any) -> Any:
    """A copy of a faiss index on the first GPU; None if there is no GPU, or its memory is too small."""
    import faiss

    resources = gpu_resources()
    if resources is None:
        return None
    try:
        return faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError:  # faiss' own error of a full memory
        return None


class NearestNeighbours:
    """Exact Euclidean nearest neighbours: faiss proposes candidates, which are sorted by float64 distances.

    faiss searches on a GPU where there is one. The results are the same: its distances decide only what is looked at.

    Args:
        gallery: (n, d) embeddings, n > 0.

    Raises:
        ValueError: the gallery is empty or not two-dimensional.
    """

    def __init__(self, gallery: NDArray[Any]) -> None:
        import faiss  # takes a second to load and is needed only for searching

        if gallery.ndim != 2 or gallery.size == 0:
            raise ValueError(f"gallery must be (n, d) with n > 0, got shape {gallery.shape}")
        self._gallery = np.asarray(gallery, dtype=np.float64)
        # Distances don't depend on the origin, but their rounding in float32 does.
        self._centre = self._gallery.mean(axis=0)
        centred = np.ascontiguousarray(self._gallery - self._centre, dtype=np.float32)
        self._largest_norm = float(np.square(centred).sum(axis=1).max())
        self._index = faiss.IndexFlatL2(gallery.shape[1])
        self._index.add(centred)
        self._gpu_index = copied_to_gpu(self._index)

    def search(self, queries: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Finds the nearest gallery items of each query.

        Args:
            queries: (q, d).
            count: number of items per query, limited by the gallery size.

        Returns:
            Indices of the gallery items, (q, min(count, n)) int64, nearest first and ties by index; and their
            distances, float64.
        """
        count = min(count, len(self._gallery))
        queries = np.asarray(queries, dtype=np.float64)
        numbers = np.empty((len(queries), count), dtype=np.int64)
        distances = np.empty((len(queries), count))
        if self._gpu_index is None:
            for row, query in enumerate(queries):
                numbers[row], distances[row] = self._search_one(query, count)
            return numbers, distances
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = queries[start : start + QUERIES_AT_ONCE]
            rough, candidates = self._candidates(self._centred(part), count + SPARE_CANDIDATES)
            for row, query in enumerate(part):
                settled = self._settle(query, rough[row], candidates[row], count)
                numbers[start + row], distances[start + row] = settled or self._search_one(
                    query, count, first=4 * (count + SPARE_CANDIDATES)
                )
        return numbers, distances

    def _search_one(
        self, query: NDArray[np.float64], count: int, first: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        num_candidates = first or count + SPARE_CANDIDATES
        while True:
            rough, candidates = self._candidates(self._centred(query[None]), num_candidates)
            settled = self._settle(query, rough[0], candidates[0], count)
            if settled is not None:
                return settled
            num_candidates *= 4

    def _centred(self, queries: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.ascontiguousarray(queries - self._centre, dtype=np.float32)

    def _candidates(self, centred: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Squared distances in float32 and indices of at least `count` nearest items, or of all, of each query."""
        count = min(count, len(self._gallery))
        if self._gpu_index is not None and count <= MOST_GPU_CANDIDATES:
            with GPU_LOCK:
                found: tuple[NDArray[np.float32], NDArray[np.int64]] = self._gpu_index.search(centred, count)
                return found
        rough, candidates = self._index.search(centred, count)
        return rough, candidates

    def _settle(
        self, query: NDArray[np.float64], rough: NDArray[np.float32], candidates: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """The nearest of the candidates by float64 distances; None if an item that is none may be nearer."""
        slack = FLOAT32_SLACK * (self._largest_norm + float(np.square(self._centred(query[None])).sum()))
        found = np.sort(candidates)
        squared = np.square(self._gallery[found] - query).sum(axis=1)
        nearest = np.argsort(squared, kind="stable")[:count]
        # All items that faiss left out are farther than its last candidate, up to rounding.
        if len(found) == len(self._gallery) or squared[nearest[-1]] < rough[-1] - slack:
            return found[nearest], np.sqrt(squared[nearest])
        return None


class Lists:
    """An inverted file (faiss' IVF): a large gallery divided into lists by location, of which the nearest are searched.

    Vectors are stored with one byte per dimension: a quarter of the gallery's size, and precise enough for candidates.

    Args:
        index: the faiss index, an `IndexIVF`.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        index.parallel_mode = PARALLEL_OVER_LISTS
        self.num_lists: int = index.nlist
        self.shape: tuple[int, int] = (index.ntotal, index.d)

    @classmethod
    def of(cls, gallery: NDArray[np.float32], num_lists: int) -> Lists:
        """Builds lists from a gallery (n, d), n >= num_lists; it is read in parts, and the lists are held in memory."""
        import faiss

        num_rows, dimensions = gallery.shape
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatL2(dimensions), dimensions, num_lists, faiss.ScalarQuantizer.QT_8bit
        )
        rows = np.linspace(0, num_rows - 1, min(num_rows, TRAINING_ROWS_PER_LIST * num_lists)).astype(np.int64)
        index.cp.niter, index.cp.min_points_per_centroid = TRAINING_ROUNDS, 1
        # k-means, which takes most of the time, assigns rows to centroids on the GPU where there is one.
        assigning = copied_to_gpu(faiss.IndexFlatL2(dimensions))
        with GPU_LOCK:
            index.clustering_index = assigning
            index.train(gallery[rows])
        index.clustering_index = None  # type: ignore[assignment, unused-ignore]
        for start in range(0, num_rows, ROWS_AT_ONCE):
            index.add(np.ascontiguousarray(gallery[start : start + ROWS_AT_ONCE]))
        return cls(index)

    @classmethod
    def open(cls, path: Path) -> Lists:
        """Opens lists from a file, memory-mapped.

        Raises:
            ValueError: the file can't be read or has other contents.
        """
        import faiss

        try:
            index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
            # By default, every search of mapped lists starts dozens of threads to read them ahead.
            stored: Any = faiss.downcast_InvertedLists(index.invlists)
            stored.prefetch_nthread = 0
            return cls(index)
        except (RuntimeError, AttributeError) as error:
            raise ValueError(f"not an IVF index: {type(error).__name__}") from error

    def save(self, path: Path) -> None:
        """Writes the lists to a file.

        Raises:
            OSError: it can't be written.
        """
        import faiss

        try:
            faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise OSError(f"faiss can't write {path}") from error

    def propose(self, query: NDArray[np.float32], count: int, probes: int) -> NDArray[np.int64]:
        """Indices of up to `count` items approximately nearest to a query (d,), from its `probes` nearest lists."""
        import faiss

        settings = faiss.SearchParametersIVF()
        settings.nprobe = probes
        numbers: NDArray[np.int64] = self._index.search(query[None], count, params=settings)[1][0]
        return numbers[(numbers >= 0) & (numbers < self.shape[0])]


def propose_from_all(
    gallery: NDArray[np.float32], query: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], float]:
    """Finds the `count` items of a gallery (n, d) nearest to a query (d,) in float32, without copying the gallery.

    Returns:
        Their indices, and a lower bound on the squared distances of all others, up to a relative `DIFFERENCES_SLACK`.
    """
    import faiss

    # For a single query, faiss sums squared differences, so that the error is relative to the distance itself.
    squared, numbers = faiss.knn(query[None], gallery, count)
    return numbers[0], float(squared[0, -1])


def distances_of_nearest(gallery: NDArray[np.float32], queries: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """The Euclidean distances of each query to its nearest gallery items; the gallery is read once, in parts.

    Args:
        gallery: (n, d).
        queries: (q, d).
        count: number of items per query, at most n.

    Returns:
        (q, count), in ascending order.
    """
    squared = np.full((len(queries), 0), np.inf)
    exact = queries.astype(np.float64)
    for start in range(0, len(gallery), ROWS_AT_ONCE):
        part = np.asarray(gallery[start : start + ROWS_AT_ONCE])
        centre = part.mean(axis=0)  # as in NearestNeighbours
        numbers = _nearest_in(queries - centre, part - centre, min(count + SPARE_CANDIDATES, len(part)))
        found = np.square(part[numbers] - exact[:, None]).sum(axis=2)
        squared = np.sort(np.concatenate([squared, found], axis=1), axis=1)[:, :count]
    return np.sqrt(squared)


def _nearest_in(queries: NDArray[np.float32], gallery: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of the `count` gallery items nearest to each query in float32, on the GPU where there is one."""
    import faiss

    resources = gpu_resources()
    if resources is not None and count <= MOST_GPU_CANDIDATES:
        with GPU_LOCK:
            numbers: NDArray[np.int64] = faiss.knn_gpu(resources, queries, gallery, count)[1]
        return numbers
    return np.asarray(faiss.knn(queries, gallery, count)[1], dtype=np.int64)


def squared_distances(gallery: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The squared Euclidean distance of every item of a gallery (n, d) to a query (d,): (n,)."""
    import faiss

    squared = np.empty(len(gallery), dtype=np.float32)
    pointers = [faiss.swig_ptr(np.ascontiguousarray(array)) for array in (squared, query, gallery)]
    faiss.fvec_L2sqr_ny(*pointers, len(query), len(gallery))  # type: ignore[attr-defined, unused-ignore]
    return squared
