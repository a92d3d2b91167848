"""The index of a gallery: exact for small galleries, IVF lists with measured recall for large ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretrain.ranking.intervals import Figure, Units, bootstrap_intervals
from pretrain.scores import PERCENT
from retrieval.index import (
    DIFFERENCES_SLACK,
    SPARE_CANDIDATES,
    Lists,
    distances_of_nearest,
    propose_from_all,
    squared_distances,
)
from shards.atomic_files import write_text_atomically, written_whole
from shards.errors import UserError, disk_remedy
from shards.records import Count, Finite, read_json_as

EXACT_UP_TO = 200_000
"""Maximum gallery size for exact search; with 128 dimensions, a query then takes about 20 ms."""
TARGET_RECALL = 0.985
"""On the queries of the measurement, so that others find 98 % as well."""
RECALL_AT = 10
RECALL_QUERIES = 200
CANDIDATES_PER_ANSWER = 10
"""Candidates per result that are re-ranked by their exact distances."""
MOST_SCANNED = 1_000_000
"""Maximum number of embeddings in the lists searched for one query; with 128 dimensions, this takes about 40 ms."""


@dataclass(frozen=True)
class ListsRecord:
    """Properties of IVF lists on disk (an inverted file, faiss' IVF).

    Attributes:
        gallery_size, dimensions: shape of the gallery.
        lists: number of lists.
        probes: number of lists, the nearest ones, that are searched for a query.
        recall_at_10: fraction of the true 10 nearest neighbours that are found, mean over the queries.
        num_queries: number of queries in that measurement.
        file_bytes: size of the file of lists.
        recall_interval: 95 % interval of `recall_at_10`, over the queries; None in records of earlier versions.
    """

    gallery_size: Count
    dimensions: Count
    lists: Count
    probes: Annotated[int, Field(ge=1, lt=2**31)]
    recall_at_10: Finite
    num_queries: Count
    file_bytes: Count
    recall_interval: tuple[Finite, Finite] | None = None


class GalleryIndex:
    """Nearest neighbours of one query in a gallery on disk, sorted by exact distances.

    Small galleries are searched by brute force, so that the result is exact. In larger ones, faiss proposes candidates
    from the lists nearest to the query, and only these are sorted. Thread-safe.

    Args:
        gallery: (n, d) float32, C-contiguous, finite, n > 0; may be memory-mapped, is never copied.
        lists: IVF lists that propose candidates, with their record; None searches by brute force.

    Raises:
        ValueError: the gallery is empty, or not (n, d) float32.
    """

    def __init__(self, gallery: NDArray[np.float32], lists: tuple[Lists, ListsRecord] | None = None) -> None:
        if gallery.ndim != 2 or gallery.size == 0 or gallery.dtype != np.float32:
            raise ValueError(f"gallery must be (n, d) float32 with n > 0, got {gallery.dtype} {gallery.shape}")
        self._gallery = gallery
        self._lists = lists

    def __len__(self) -> int:
        return len(self._gallery)

    @property
    def record(self) -> ListsRecord | None:
        """The record of the lists; None if the search is exact."""
        return self._lists[1] if self._lists else None

    @property
    def description(self) -> str:
        """How the gallery is searched: "exact", or its lists and measured recall."""
        if self.record is None:
            return "exact"
        record = self.record
        ends = " – ".join(map(PERCENT.show, record.recall_interval or ()))
        return (
            f"IVF with {record.lists:,} lists, {record.probes:,} probed: recall@{RECALL_AT} "
            f"{PERCENT.show(record.recall_at_10)} %{f' (95 % interval {ends} %)' if ends else ''}, measured on "
            f"{record.num_queries} queries"
        )

    def search(self, query: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Finds the gallery items that are nearest to a query.

        Args:
            query: (d,) an embedding, converted to float32.
            count: number of items, limited by the gallery size.

        Returns:
            Their indices, (min(count, n),) int64, nearest first and ties by index; and their Euclidean distances,
            float64.

        Raises:
            ValueError: the query is not (d,) or not finite, or count is below 1.
        """
        query = self._checked(query)
        if count < 1:
            raise ValueError(f"count must be >= 1, got {count}")
        count = min(count, len(self))
        if self._lists is None:
            return self._search_all(query, count)
        return self._ordered(query, self._candidates(*self._lists, query, count), count)

    def search_among(
        self, query: NDArray[Any], count: int, among: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """As `search`, but only items whose entry in the mask `among`, (n,), is True; by brute force.

        Returns:
            As `search`; fewer than `count`, or none, if the mask has fewer items.
        """
        query = self._checked(query)
        allowed = np.flatnonzero(among)
        # Float32 distances propose, with some to spare; float64 distances order.
        proposed = min(count + SPARE_CANDIDATES, len(allowed))
        if proposed == 0:
            return np.zeros(0, np.int64), np.zeros(0)
        nearest = np.argpartition(self.distances(query)[allowed], proposed - 1)[:proposed]
        return self._ordered(query, allowed[nearest], count)

    def distances(self, query: NDArray[Any]) -> NDArray[np.float32]:
        """Euclidean distances (n,) of all gallery items to a query (d,), in float32."""
        squared = squared_distances(self._gallery, self._checked(query))
        return np.sqrt(squared, out=squared)

    def _checked(self, query: NDArray[Any]) -> NDArray[np.float32]:
        query = np.ascontiguousarray(query, dtype=np.float32)
        if query.shape != self._gallery.shape[1:] or not np.isfinite(query).all():
            raise ValueError(f"query must be {self._gallery.shape[1:]} and finite, got shape {query.shape}")
        return query

    def _ordered(
        self, query: NDArray[np.float32], candidates: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest of some gallery items, by float64 distances."""
        found = np.sort(candidates)
        squared = np.square(self._gallery[found] - query.astype(np.float64)).sum(axis=1)
        nearest = np.argsort(squared, kind="stable")[:count]
        return found[nearest], np.sqrt(squared[nearest])

    def _search_all(self, query: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        num_candidates = count + SPARE_CANDIDATES
        while True:
            num_candidates = min(num_candidates, len(self))
            candidates, others_from = propose_from_all(self._gallery, query, num_candidates)
            numbers, distances = self._ordered(query, candidates, count)
            if num_candidates == len(self) or distances[-1] ** 2 < others_from * (1 - DIFFERENCES_SLACK):
                return numbers, distances
            num_candidates *= 4

    def _candidates(
        self, lists: Lists, record: ListsRecord, query: NDArray[np.float32], count: int
    ) -> NDArray[np.int64]:
        probes = record.probes
        while True:
            candidates = lists.propose(query, min(CANDIDATES_PER_ANSWER * count, len(self)), probes)
            if len(candidates) >= count or probes >= record.lists:
                return candidates
            probes *= 2  # the probed lists hold fewer items than requested


def build_index(
    gallery: NDArray[np.float32], queries: NDArray[np.float32], path: Path, *, exact_up_to: int = EXACT_UP_TO
) -> GalleryIndex:
    """Builds the index appropriate to the gallery size; lists are written to `path`, and their record beside it.

    Args:
        gallery: (n, d) float32, as in `GalleryIndex`; takes about 140 bytes of memory per item of 128 dimensions.
        queries: (q, d) typical queries, on which recall is measured; at most `RECALL_QUERIES`, evenly spaced, are used.
        path: `<name>.faiss`; not written for a small gallery.
        exact_up_to: maximum gallery size for exact search.

    Raises:
        UserError: the file can't be written.
    """
    if len(gallery) <= exact_up_to:
        return GalleryIndex(gallery)
    lists = Lists.of(gallery, round(len(gallery) ** 0.5))
    try:
        with written_whole(path) as partial:
            lists.save(partial)
            record = _measure(lists, gallery, queries, partial.stat().st_size)
        write_text_atomically(_record_path(path), json.dumps(dataclasses.asdict(record), indent=1) + "\n")
    except OSError as error:
        raise UserError(f"the index {path} can't be written ({error}); {disk_remedy(error)}") from error
    return open_index(gallery, path, exact_up_to=exact_up_to)


def open_index(gallery: NDArray[np.float32], path: Path, *, exact_up_to: int = EXACT_UP_TO) -> GalleryIndex:
    """Opens an index that `build_index` built for the same gallery; its lists are memory-mapped.

    Raises:
        UserError: the lists or their record are missing, damaged or from another gallery.
    """
    if len(gallery) <= exact_up_to:
        return GalleryIndex(gallery)
    try:
        record = read_json_as(ListsRecord, _record_path(path))
        size = path.stat().st_size
        if size != record.file_bytes:
            raise ValueError(f"it has {size} bytes, its record says {record.file_bytes}")
        lists = Lists.open(path)
        if not (record.gallery_size, record.dimensions) == gallery.shape == lists.shape:
            raise ValueError(f"it was built for embeddings of shape {lists.shape}, not {gallery.shape}")
    except (OSError, ValueError) as error:
        raise UserError(f"the index {path} can't be opened ({error}); delete it, so that it is rebuilt") from error
    return GalleryIndex(gallery, (lists, record))


def _measure(lists: Lists, gallery: NDArray[np.float32], queries: NDArray[np.float32], file_bytes: int) -> ListsRecord:
    """Finds the number of probes that reaches the target recall, limited by the search time."""
    rows = np.linspace(0, len(queries) - 1, min(len(queries), RECALL_QUERIES)).astype(np.int64)
    asked = queries[rows]
    reach = distances_of_nearest(gallery, asked, RECALL_AT)[:, -1].tolist()
    most_probes = max(1, min(lists.num_lists, lists.num_lists * MOST_SCANNED // len(gallery)))
    for probes in _probes_to_try(most_probes):
        record = ListsRecord(
            *(len(gallery), gallery.shape[1], lists.num_lists, probes),
            recall_at_10=0.0,
            num_queries=len(asked),
            file_bytes=file_bytes,
        )
        recalls = recalls_of(GalleryIndex(gallery, (lists, record)), asked, reach)
        if recalls.mean() >= TARGET_RECALL:
            break
    units = Units("query", np.arange(len(asked)))
    interval = bootstrap_intervals({"recall": Figure(recalls)}, units)["recall"]
    return dataclasses.replace(record, recall_at_10=float(recalls.mean()), recall_interval=interval)


def recalls_of(index: GalleryIndex, queries: NDArray[np.float32], reach: Sequence[float]) -> NDArray[np.float64]:
    """recall@10 of each query, (q,): the fraction of its results that are within its true 10th distance.

    Args:
        index: the index to measure.
        queries: (q, d).
        reach: distance of each query's 10th nearest neighbour by brute force (of the last in a smaller gallery).
    """
    count = min(RECALL_AT, len(index))
    found = [np.mean(index.search(query, count)[1] <= far) for query, far in zip(queries, reach, strict=True)]
    return np.array(found, dtype=np.float64)


def _probes_to_try(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12 … up to and including `most`."""
    steps = {2**power * part // 2 for power in range(most.bit_length()) for part in (2, 3)}
    return [*sorted(step for step in steps if step < most), most]


def _record_path(path: Path) -> Path:
    return path.with_suffix(".index.json")
