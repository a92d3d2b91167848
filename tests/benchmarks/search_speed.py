"""Search among a million pairs: opening, answering and finding, beside brute force by faiss and by NumPy.

The embeddings are synthetic, 128 dimensions, in the files that the explorer opens. Images of "clusters" are of 2,000
Gaussians, whose centres and spread are equally wide, and those of "no structure" of a single one, the hardest case for
any index. A sound is its image plus as much noise again. Sounds ask for images. Every case is a process of its own; the
kernel is made to forget the files before, so that opening and the first answer include reading them from the disk.
What is imported is not counted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.corpus import Workplace
from benchmarks.measuring import alone, memory_mib
from benchmarks.results import Figure, Row, Target, Value
from numpy.typing import NDArray

from retrieval.explore.atlas import Atlas
from retrieval.explore.atlas_building import RECORD_NAME, PairNumbers, read_atlas
from retrieval.explore.gallery_index import EXACT_UP_TO, RECALL_AT, build_index
from shards.manifest import Manifest
from shards.schema import SpectrogramSettings
from shards.streaming.reading import ShardSet

SUITE = "search"
IS_RUN_BY_BOTH = True
DIMENSIONS = 128
PAIRS, QUICK_PAIRS = 1_000_000, 5000
QUICK_EXACT_UP_TO = 500
NUM_CLUSTERS = 2000
ROWS_AT_ONCE = 50_000
NUM_QUERIES, QUICK_QUERIES = 200, 20
CLUSTERS, NO_STRUCTURE = "clusters", "no structure"
OURS, FAISS, NUMPY = "Atlas.nearest", "faiss IndexFlatL2", "NumPy"

Floats = NDArray[np.float32]


def case_of(name: str, kind: str, n: int = PAIRS) -> str:
    """The name of a row."""
    return f"{name}, {kind}, n = {n:,}"


TARGETS = (
    *(
        Target(what, Figure(SUITE, case, "median_ms"), None, bound, at_most=True, unit="ms")
        for what, case, bound in (
            ("an answer, exact", case_of(OURS, CLUSTERS, EXACT_UP_TO), 100),
            ("an answer, clusters", case_of(OURS, CLUSTERS), 2),
            ("an answer, no structure", case_of(OURS, NO_STRUCTURE), 100),
        )
    ),
    *(
        Target(f"recall@10, {kind}", Figure(SUITE, case_of(OURS, kind), "recall_at_10"), None, 0.98, unit="")
        for kind in (CLUSTERS, NO_STRUCTURE)
    ),
    *(
        Target(f"building, {kind}", Figure(SUITE, case_of(OURS, kind), "build_s"), None, 15, at_most=True, unit="s")
        for kind in (CLUSTERS, NO_STRUCTURE)
    ),
    Target("opening", Figure(SUITE, case_of(OURS, CLUSTERS), "open_s"), None, 5, at_most=True, unit="s"),
    *(
        Target(
            f"{rival} / ours, an answer",
            Figure(SUITE, case_of(rival, CLUSTERS), "median_ms"),
            Figure(SUITE, case_of(OURS, CLUSTERS), "median_ms"),
            1,
        )
        for rival in (FAISS, NUMPY)
    ),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """The largest gallery that is searched exactly, and a million of each kind beside brute force."""
    exact_up_to, n = (QUICK_EXACT_UP_TO, QUICK_PAIRS) if place.quick else (EXACT_UP_TO, PAIRS)
    num_queries = QUICK_QUERIES if place.quick else NUM_QUERIES
    folder = place.folder / "atlas"
    rows = []
    for kind, num_pairs in ((CLUSTERS, exact_up_to), (CLUSTERS, n), (NO_STRUCTURE, n)):
        alone(write_embeddings, folder, num_pairs, kind)
        built = alone(build, folder, num_pairs, exact_up_to)
        # Brute force by faiss goes first: it writes what the others should find.
        for name, search in ((FAISS, search_flat), (NUMPY, search_numpy), (OURS, search_atlas)):
            forget(folder)
            figures = alone(search, folder, num_pairs, num_queries, exact_up_to)
            rows.append(Row(SUITE, case_of(name, kind, num_pairs), {**figures, **(built if name == OURS else {})}))
        for path in folder.iterdir():
            path.unlink()
    return rows


def forget(folder: Path) -> None:
    """Has the kernel drop what it holds of the files in a folder."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_embeddings(folder: Path, n: int, kind: str) -> None:
    """Writes the files of an atlas whose pairs have neither place nor label."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((NUM_CLUSTERS, DIMENSIONS), dtype=np.float32)
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(n, DIMENSIONS))
        for name in ("image_embeddings", "sound_embeddings")
    }
    for start in range(0, n, ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, n))
        image, noise = rng.standard_normal((2, rows.stop - start, DIMENSIONS), dtype=np.float32)
        if kind == CLUSTERS:
            image += centres[rng.integers(NUM_CLUSTERS, size=len(image))]
        arrays["image_embeddings"][rows], arrays["sound_embeddings"][rows] = image, image + noise
    np.save(folder / "places.npy", np.full((n, 2), np.nan, np.float32))
    np.save(folder / "labels.npy", np.full(n, -1, np.int32))
    (folder / RECORD_NAME).write_text(json.dumps({"findings": {}}), encoding="utf-8")


def build(folder: Path, n: int, exact_up_to: int) -> dict[str, Value]:
    """Makes both indexes: seconds of one, measuring its recall included, and what is on the disk beside embeddings."""
    contents = read_atlas(folder, (n, DIMENSIONS))
    assert contents
    image, sound = contents.arrays["image_embeddings"], contents.arrays["sound_embeddings"]
    started = time.perf_counter()
    build_index(image, sound, folder / "image.faiss", exact_up_to=exact_up_to)
    seconds = time.perf_counter() - started
    build_index(sound, image, folder / "sound.faiss", exact_up_to=exact_up_to)
    index = folder / "image.faiss"
    return {
        "build_s": seconds,
        "index_mb": index.stat().st_size / 1e6 if index.exists() else 0,
        "embeddings_mb": (folder / "image_embeddings.npy").stat().st_size / 1e6,
    }


def search_atlas(folder: Path, n: int, num_queries: int, exact_up_to: int) -> dict[str, Value]:
    """Ours: from the files on the disk to answers in exact order."""
    shard_set = ShardSet(folder, Manifest("recordings", {}, SpectrogramSettings(), {}, (), ()))
    before = memory_mib("RssAnon")
    started = time.perf_counter()
    contents = read_atlas(folder, (n, DIMENSIONS))
    assert contents
    atlas = Atlas.of(folder, PairNumbers(shard_set, ("test",), (n,)), contents, {}, exact_up_to=exact_up_to)
    open_s = time.perf_counter() - started
    figures = ask(folder, num_queries, lambda query: atlas.nearest("image", query, RECALL_AT)[0])
    started = time.perf_counter()
    atlas.distances("image", np.zeros(DIMENSIONS))
    all_ms = 1000 * (time.perf_counter() - started)
    held = memory_mib("RssAnon") - before
    index = atlas.indexes["image"].description
    return {"open_s": open_s, **figures, "held_mib": held, "all_distances_ms": all_ms, "index": index}


def search_flat(folder: Path, n: int, num_queries: int, exact_up_to: int) -> dict[str, Value]:
    """Brute force by faiss over a copy in memory."""
    import faiss

    before = memory_mib("RssAnon")
    started = time.perf_counter()
    index = faiss.IndexFlatL2(DIMENSIONS)
    index.add(np.load(folder / "image_embeddings.npy"))
    open_s = time.perf_counter() - started
    queries = queries_of(folder, num_queries)
    np.save(folder / "true.npy", np.concatenate([index.search(query[None], RECALL_AT)[1] for query in queries]))
    figures = ask(folder, num_queries, lambda query: index.search(query[None], RECALL_AT)[1][0])
    return {"open_s": open_s, **figures, "held_mib": memory_mib("RssAnon") - before}


def search_numpy(folder: Path, n: int, num_queries: int, exact_up_to: int) -> dict[str, Value]:
    """Brute force by a matrix product with a copy in memory, the squared lengths being known."""
    before = memory_mib("RssAnon")
    started = time.perf_counter()
    gallery = np.load(folder / "image_embeddings.npy")
    lengths = np.einsum("nd,nd->n", gallery, gallery)
    open_s = time.perf_counter() - started

    def nearest(query: Floats) -> NDArray[np.int64]:
        squared = lengths - 2 * (gallery @ query)
        few = np.argpartition(squared, RECALL_AT)[:RECALL_AT]
        return few[np.argsort(squared[few])]

    return {"open_s": open_s, **ask(folder, num_queries, nearest), "held_mib": memory_mib("RssAnon") - before}


def queries_of(folder: Path, num_queries: int) -> Floats:
    """Sounds, others than those on which an index measures its recall, as far as chance allows."""
    sounds = np.load(folder / "sound_embeddings.npy", mmap_mode="r")
    rows = np.random.default_rng(1).choice(len(sounds), num_queries, replace=False)
    return np.asarray(sounds[np.sort(rows)])


def ask(folder: Path, num_queries: int, nearest: Callable[[Floats], NDArray[np.int64]]) -> dict[str, Value]:
    """Asks one query after the other: times, and the recall against brute force."""
    seconds, found = [], []
    for query in queries_of(folder, num_queries):
        started = time.perf_counter()
        found.append(nearest(query))
        seconds.append(time.perf_counter() - started)
    true = np.load(folder / "true.npy")
    recall = [np.isin(answer, row).mean() for answer, row in zip(found, true, strict=True)]
    return {
        "first_ms": 1000 * seconds[0],
        "median_ms": 1000 * float(np.median(seconds)),
        "p95_ms": 1000 * float(np.percentile(seconds, 95)),
        "recall_at_10": float(np.mean(recall)),
    }
