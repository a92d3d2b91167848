"""The index of a gallery: the exact one against sorting everything, the lists against the recall they claim."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.explore.gallery_index import TARGET_RECALL, GalleryIndex, build_index, open_index, recalls_of
from retrieval.index import Lists, distances_of_nearest
from shards.errors import UserError

Floats = NDArray[np.float32]


def literal_neighbours(gallery: Floats, query: Floats, count: int) -> tuple[list[int], list[float]]:
    """All distances, then sorted by distance and number."""
    distances = np.linalg.norm(gallery.astype(np.float64) - query.astype(np.float64), axis=1).tolist()
    order = sorted(range(len(gallery)), key=lambda number: (distances[number], number))[:count]
    return order, [distances[number] for number in order]


def towns(n: int, dim: int = 16, seed: int = 0) -> tuple[Floats, Floats]:
    """A gallery of overlapping clusters, and queries that lie near its items."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, dim))
    gallery = centres[rng.integers(40, size=n)] + rng.normal(size=(n, dim))
    return gallery.astype(np.float32), (gallery + rng.normal(size=gallery.shape)).astype(np.float32)


@given(
    rows=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=80),
    query=st.lists(st.integers(-3, 3), min_size=3, max_size=3),
    count=st.integers(1, 100),
    offset=st.sampled_from([0.0, 1e4]),
)
def test_small_galleries_are_searched_exactly(
    rows: list[list[int]], query: list[int], count: int, offset: float
) -> None:
    gallery, point = (np.asarray(values, dtype=np.float32) + np.float32(offset) for values in (rows, query))
    numbers, distances = GalleryIndex(gallery).search(point, count)
    expected, expected_distances = literal_neighbours(gallery, point, count)
    assert numbers.tolist() == expected
    assert distances.tolist() == pytest.approx(expected_distances)
    assert (numbers.dtype, distances.dtype) == (np.int64, np.float64)


@given(
    rows=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=60),
    chosen=st.lists(st.booleans(), min_size=60, max_size=60),
    count=st.integers(1, 30),
)
def test_a_part_of_a_gallery_is_searched_exactly(rows: list[list[int]], chosen: list[bool], count: int) -> None:
    gallery, mask = np.asarray(rows, dtype=np.float32), np.array(chosen[: len(rows)])
    query = np.array([0.25, 0.5, -0.75], np.float32)
    numbers, distances = GalleryIndex(gallery).search_among(query, count, mask)
    expected, expected_distances = literal_neighbours(gallery[mask], query, count)
    assert distances.tolist() == pytest.approx(expected_distances)
    assert mask[numbers].all()
    assert len(set(numbers.tolist())) == len(expected)


def test_items_that_are_equally_near_are_in_order_of_their_numbers_however_many() -> None:
    gallery = np.zeros((500, 4), np.float32)
    gallery[100] = 1
    assert GalleryIndex(gallery).search(np.zeros(4), 120)[0].tolist() == [*range(100), *range(101, 121)]


def test_distances_that_float32_rounds_to_one_are_told_apart() -> None:
    # On a line at a distance of a thousand, 1e-4 apart: in float32 thousands of them are equally near.
    order = np.random.default_rng(1).permutation(3000)
    gallery = np.zeros((3000, 2), np.float32)
    gallery[:, 0], gallery[:, 1] = 1000, order * np.float32(1e-4)
    numbers, distances = GalleryIndex(gallery).search(np.zeros(2, np.float32), 5)
    assert order[numbers].tolist() == [0, 1, 2, 3, 4]
    assert np.all(np.diff(distances) > 0)


def test_all_distances() -> None:
    gallery, queries = towns(300)
    expected = np.linalg.norm(gallery.astype(np.float64) - queries[7], axis=1)
    assert np.allclose(GalleryIndex(gallery).distances(queries[7]), expected, rtol=1e-5)


@given(
    rows=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=80),
    offset=st.sampled_from([0.0, 1e4]),
    rows_at_once=st.sampled_from([1, 7, 100]),
)
def test_distances_of_the_nearest_however_the_gallery_is_read(
    rows: list[list[int]], offset: float, rows_at_once: int
) -> None:
    gallery = np.asarray(rows, dtype=np.float32) + np.float32(offset)
    queries, count = gallery[:5] + np.float32(0.5), min(10, len(gallery))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.index.ROWS_AT_ONCE", rows_at_once)
        distances = distances_of_nearest(gallery, queries, count)
    expected = [literal_neighbours(gallery, query, count)[1] for query in queries]
    assert distances == pytest.approx(np.asarray(expected))


def test_what_is_no_gallery_and_no_query() -> None:
    with pytest.raises(ValueError, match="n > 0"):
        GalleryIndex(np.empty((0, 3), np.float32))
    with pytest.raises(ValueError, match="float32"):
        GalleryIndex(np.zeros((2, 3)))  # type: ignore[arg-type]
    index = GalleryIndex(np.zeros((2, 3), np.float32))
    for query in (np.zeros(2), np.zeros((1, 3)), np.array([0, np.nan, 0])):
        with pytest.raises(ValueError, match="query must be"):
            index.search(query, 1)
    with pytest.raises(ValueError, match="count must be >= 1, got 0"):
        index.search(np.zeros(3), 0)


def test_a_small_gallery_leaves_no_file(tmp_path: Path) -> None:
    gallery, queries = towns(50)
    for index in (build_index(gallery, queries, tmp_path / "a.faiss"), open_index(gallery, tmp_path / "a.faiss")):
        assert index.description == "exact"
        assert index.record is None
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Floats, Floats]:
    """A gallery in a memory-mapped file with lists beside it, and queries."""
    folder = tmp_path_factory.mktemp("lists")
    gallery, queries = towns(6000)
    np.save(folder / "gallery.npy", gallery)
    build_index(gallery, queries, folder / "image.faiss", exact_up_to=1000)
    return folder, np.load(folder / "gallery.npy", mmap_mode="r"), queries


def test_the_recall_that_is_recorded_is_the_recall(built: tuple[Path, Floats, Floats]) -> None:
    folder, gallery, queries = built
    index = open_index(gallery, folder / "image.faiss", exact_up_to=1000)
    record = index.record
    assert record is not None
    asked = queries[np.linspace(0, 5999, 200).astype(int)]
    shares = []
    for query in asked:
        true_numbers = literal_neighbours(gallery, query, 10)[0]
        shares.append(len(set(index.search(query, 10)[0].tolist()) & set(true_numbers)) / 10)
    assert record.recall_at_10 == pytest.approx(np.mean(shares))
    assert TARGET_RECALL <= record.recall_at_10 < 1
    assert 1 < record.probes < record.lists == round(np.sqrt(6000))
    assert (record.num_queries, record.gallery_size, record.dimensions) == (200, 6000, 16)
    assert record.recall_interval is not None
    low, high = record.recall_interval
    assert low < record.recall_at_10 < high
    # Of a mean over 200 queries, the bootstrap's interval is close to that of the normal distribution.
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(shares) / np.sqrt(200), rel=0.15)
    assert index.description == (
        f"IVF with 77 lists, {record.probes} probed: recall@10 {100 * record.recall_at_10:.2f} % "
        f"(95 % interval {100 * low:.2f} – {100 * high:.2f} %), measured on 200 queries"
    )


def test_a_record_of_an_earlier_version_has_no_interval(built: tuple[Path, Floats, Floats], tmp_path: Path) -> None:
    folder, gallery, _ = built
    stored = json.loads((folder / "image.index.json").read_text())
    del stored["recall_interval"]
    shutil.copy(folder / "image.faiss", tmp_path / "image.faiss")
    (tmp_path / "image.index.json").write_text(json.dumps(stored))
    index = open_index(gallery, tmp_path / "image.faiss", exact_up_to=1000)
    assert "interval" not in index.description
    assert "%, measured on 200 queries" in index.description


def test_no_fewer_probes_reach_the_recall(built: tuple[Path, Floats, Floats]) -> None:
    folder, gallery, queries = built
    path = folder / "image.faiss"
    record = open_index(gallery, path, exact_up_to=1000).record
    assert record is not None
    steps = [step for step in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if step < record.probes]
    asked = queries[np.linspace(0, 5999, 200).astype(int)]
    reach = [literal_neighbours(gallery, query, 10)[1][-1] * (1 + 1e-9) for query in asked]
    fewer = folder / "fewer.faiss"
    os.link(path, fewer)
    fields = json.loads(path.with_suffix(".index.json").read_text())
    fewer.with_suffix(".index.json").write_text(json.dumps({**fields, "probes": steps[-1]}))
    assert recalls_of(open_index(gallery, fewer, exact_up_to=1000), asked, reach).mean() < TARGET_RECALL


def test_answers_from_lists_are_in_exact_order(built: tuple[Path, Floats, Floats]) -> None:
    folder, gallery, queries = built
    index = open_index(gallery, folder / "image.faiss", exact_up_to=1000)
    for query in queries[:20]:
        numbers, distances = index.search(query, 25)
        assert len(set(numbers.tolist())) == 25
        exact = [float(np.linalg.norm(gallery[number].astype(np.float64) - query)) for number in numbers]
        assert distances.tolist() == pytest.approx(exact, rel=1e-12)
        assert distances.tolist() == sorted(distances)


def test_equals_from_lists_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    # On a grid many are equally near, but not so by the rounded vectors of the lists.
    gallery = np.random.default_rng(0).integers(-3, 4, size=(1500, 5)).astype(np.float32)
    index = build_index(gallery, gallery, tmp_path / "a.faiss", exact_up_to=1000)
    for query in gallery[:20]:
        numbers, distances = index.search(query, 100)
        answers = list(zip(distances.tolist(), numbers.tolist(), strict=True))
        assert answers == sorted(answers)
        assert len(set(distances.tolist())) < 50


def test_more_than_the_probed_lists_hold_is_still_found(built: tuple[Path, Floats, Floats]) -> None:
    folder, gallery, queries = built
    index = open_index(gallery, folder / "image.faiss", exact_up_to=1000)
    for count in (5999, 6000, 7000):
        assert index.search(queries[3], count)[0].tolist() == literal_neighbours(gallery, queries[3], count)[0]


def test_threads_share_an_index(built: tuple[Path, Floats, Floats]) -> None:
    folder, gallery, queries = built
    index = open_index(gallery, folder / "image.faiss", exact_up_to=1000)
    alone = [index.search(query, 10)[0].tolist() for query in queries[:200]]
    with ThreadPoolExecutor(4) as pool:
        assert [found[0].tolist() for found in pool.map(lambda query: index.search(query, 10), queries[:200])] == alone


def test_mapped_lists_start_no_threads_that_read_ahead(built: tuple[Path, Floats, Floats]) -> None:
    lists = Lists.open(built[0] / "image.faiss")
    stored = faiss.downcast_InvertedLists(lists._index.invlists)
    assert isinstance(stored, faiss.OnDiskInvertedLists)
    assert stored.prefetch_nthread == 0


def test_a_collapsed_embedding_is_answered(tmp_path: Path) -> None:
    # All lists but one are empty, and whatever is found is as near as the true neighbours.
    gallery = np.full((1500, 8), 0.3, np.float32)
    index = build_index(gallery, gallery, tmp_path / "a.faiss", exact_up_to=1000)
    assert index.record is not None
    assert index.record.recall_at_10 == 1
    assert index.search(np.zeros(8), 10)[1].tolist() == pytest.approx([0.3 * np.sqrt(8)] * 10, rel=1e-6)


def test_queries_far_from_everything_reach_what_time_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.explore.gallery_index.MOST_SCANNED", 300)
    gallery = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
    record = build_index(gallery, -gallery, tmp_path / "a.faiss", exact_up_to=1000).record
    assert record is not None
    assert record.probes == record.lists // 10
    assert record.recall_at_10 < TARGET_RECALL


@pytest.mark.parametrize(
    "damage", ["truncated", "longer", "missing", "no record", "broken record", "other file", "other gallery"]
)
def test_damaged_files_get_a_sentence(damage: str, tmp_path: Path) -> None:
    gallery, queries = towns(1200)
    path = tmp_path / "image.faiss"
    build_index(gallery, queries, path, exact_up_to=1000)
    record = tmp_path / "image.index.json"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["image.faiss", "image.index.json"]
    if damage == "truncated":
        os.truncate(path, path.stat().st_size - 100)
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + bytes(8))
    elif damage == "missing":
        path.unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "broken record":
        record.write_text('{"lists": ')
    elif damage == "other file":
        path.write_bytes(b"no index" * (path.stat().st_size // 8) + bytes(path.stat().st_size % 8))
    else:
        gallery = gallery[:1100]
    with pytest.raises(UserError, match=r"the index .*image\.faiss can't be opened \(.*\); delete it"):
        open_index(gallery, path, exact_up_to=1000)
    rebuilt = build_index(gallery, queries, path, exact_up_to=1000)
    assert rebuilt.record == open_index(gallery, path, exact_up_to=1000).record


def test_a_folder_that_can_not_be_written_gets_a_sentence(tmp_path: Path) -> None:
    gallery, queries = towns(1200)
    with pytest.raises(UserError, match="can't be written"):
        build_index(gallery, queries, tmp_path / "nowhere" / "image.faiss", exact_up_to=1000)
