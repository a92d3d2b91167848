"""Ranks and ranking metrics: exact on hand-written cases and equal to a slow literal reference, ties included."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pretrain.ranking import (
    both_directions,
    bounds,
    chance_metrics,
    cross_modal_rank_bounds,
    cross_modal_ranks,
    rank_bounds_both_ways,
    ranking_metrics,
)

METRICS = {
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "recall_at_100",
    "recall_at_10_percent",
    "median_rank",
    "mean_rank",
    "mrr",
}


def reference_bounds(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, word for word: all distances by subtraction, then counting."""
    difference = queries.astype(np.float64)[:, None, :] - gallery.astype(np.float64)[None, :, :]
    distances = np.square(difference).sum(axis=2)
    true = np.diag(distances)[:, None]
    return (distances < true).sum(axis=1), (distances == true).sum(axis=1)


def reference_metrics(nearer: np.ndarray, tied: np.ndarray) -> dict[str, float | None]:
    """Expectations over a random order of the tied, by going through every place that the true match can take."""
    n = len(nearer)
    places = [[lower + 1 + place for place in range(ties)] for lower, ties in zip(nearer, tied, strict=True)]

    def expectation(of_rank: Callable[[int], float]) -> float:
        return float(np.mean([np.mean([of_rank(rank) for rank in ranks]) for ranks in places]))

    def recall(k: int) -> float:
        return expectation(lambda rank: rank <= k)

    metrics = {f"recall_at_{k}": recall(k) if k <= n else None for k in (1, 5, 10, 100)}
    metrics["recall_at_10_percent"] = recall(math.ceil(n / 10))
    averages = [np.mean(ranks) for ranks in places]
    return {
        **metrics,
        "median_rank": float(np.median(averages)),
        "mean_rank": float(np.mean(averages)),
        "mrr": expectation(lambda rank: 1 / rank),
    }


def pairs_of_matrices(elements: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Strategy of (queries, gallery) of one shape."""
    shapes = st.tuples(st.integers(1, 30), st.integers(1, 6))
    return shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float64, shape, elements=elements), hnp.arrays(np.float64, shape, elements=elements)
        )
    )


def test_ranks_of_a_hand_written_case() -> None:
    queries = np.array([[0.0], [0.0], [10.0], [4.0]])
    gallery = np.array([[1.0], [-1.0], [3.0], [4.0]])
    # Query 0 is 1 from items 0 and 1, 3 from item 2, 4 from item 3; query 2 is nearest to item 3, then to its own.
    nearer, tied = cross_modal_rank_bounds(queries, gallery)
    assert nearer.tolist() == [0, 0, 1, 0]
    assert tied.tolist() == [2, 2, 1, 1]
    assert cross_modal_ranks(queries, gallery).tolist() == [1.5, 1.5, 2.0, 1.0]
    metrics = ranking_metrics(nearer, tied)
    assert metrics["recall_at_1"] == (0.5 + 0.5 + 0 + 1) / 4
    assert [metrics[f"recall_at_{k}"] for k in (5, 10, 100)] == [None, None, None]
    assert metrics["recall_at_10_percent"] == metrics["recall_at_1"]
    assert metrics["median_rank"] == 1.5
    assert metrics["mean_rank"] == 1.5
    assert metrics["mrr"] == (0.75 + 0.75 + 0.5 + 1) / 4


def test_recall_shares_a_hit_among_the_tied() -> None:
    nearer = np.array([3, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0])
    tied = np.array([4, 11, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    metrics = ranking_metrics(nearer, tied)
    assert metrics["recall_at_5"] == pytest.approx((2 / 4 + 5 / 11 + 0 + 8) / 11)
    assert metrics["recall_at_10"] == pytest.approx((1 + 10 / 11 + 1 / 2 + 8) / 11)
    assert metrics["recall_at_10_percent"] == pytest.approx((0 + 2 / 11 + 0 + 8) / 11)


@pytest.mark.parametrize("n", [1, 7, 104, 300])
def test_perfect_embeddings_rank_first(n: int) -> None:
    embeddings = np.random.default_rng(0).normal(size=(n, 16))
    for metrics in both_directions(embeddings, embeddings).values():
        assert metrics.keys() == METRICS
        assert metrics["recall_at_1"] == metrics["median_rank"] == metrics["mean_rank"] == metrics["mrr"] == 1.0
        assert (metrics["recall_at_100"] is None) == (n < 100)


@pytest.mark.parametrize("n", [1, 2, 9, 10, 104, 999, 2500])
@pytest.mark.parametrize("gallery_point", [0.1, 0.7], ids=["one point", "a point for each tower"])
def test_collapsed_embeddings_score_exactly_chance(n: int, gallery_point: float) -> None:
    rng = np.random.default_rng(n)
    point = rng.normal(size=128).astype(np.float32)
    images = np.tile(point, (n, 1))
    sounds = np.tile(point + np.float32(gallery_point - 0.1), (n, 1))
    chance = chance_metrics(n)
    assert both_directions(images, sounds) == {"image_to_sound": chance, "sound_to_image": chance}
    for k in (1, 5, 10, 100):
        assert chance[f"recall_at_{k}"] == (k / n if k <= n else None)
    assert chance["recall_at_10_percent"] == math.ceil(n / 10) / n
    assert chance["median_rank"] == chance["mean_rank"] == (n + 1) / 2
    assert chance["mrr"] == pytest.approx(sum(1 / rank for rank in range(1, n + 1)) / n, rel=1e-12)


def test_one_collapsed_tower_scores_chance_as_query_only() -> None:
    rng = np.random.default_rng(1)
    sounds = rng.normal(size=(104, 8))
    metrics = both_directions(np.full((104, 8), 0.3), sounds)
    assert metrics["sound_to_image"] == chance_metrics(104)
    # Every image sees the same order of the sounds: each rank occurs once, so recall is chance too, but without ties.
    assert metrics["image_to_sound"]["recall_at_10"] == pytest.approx(10 / 104)


@settings(deadline=None, max_examples=150)
@given(pairs_of_matrices(st.integers(-2, 2).map(float)))
def test_bounds_equal_the_reference_with_many_ties(pair: tuple[np.ndarray, np.ndarray]) -> None:
    check_against_reference(*pair)


@settings(deadline=None, max_examples=150)
@given(pairs_of_matrices(st.floats(-1e6, 1e6, width=32)))
def test_bounds_equal_the_reference_with_floats(pair: tuple[np.ndarray, np.ndarray]) -> None:
    check_against_reference(*pair)


@settings(deadline=None, max_examples=100)
@given(pairs_of_matrices(st.integers(-2, 2).map(lambda step: 1000.0 + step * 2.0**-40)))
def test_bounds_equal_the_reference_a_hair_apart(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Norms of 10⁶ and distances of 10⁻²⁴: a product of the raw embeddings could tell nothing apart."""
    check_against_reference(*pair)


def check_against_reference(images: np.ndarray, sounds: np.ndarray) -> None:
    forward, backward = rank_bounds_both_ways(images, sounds)
    for counted, reference in (
        (forward, reference_bounds(images, sounds)),
        (backward, reference_bounds(sounds, images)),
    ):
        assert counted.nearer.tolist() == reference[0].tolist()
        assert counted.tied.tolist() == reference[1].tolist()
        metrics, expected = ranking_metrics(counted.nearer, counted.tied), reference_metrics(*reference)
        assert metrics.keys() == expected.keys()
        for name, value in expected.items():
            assert metrics[name] == (None if value is None else pytest.approx(value, rel=1e-12)), name


@pytest.fixture
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """As many threads as the parameter says, where tests have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("num_threads", [1, 2, 3, 20], indirect=True)
def test_bounds_equal_the_reference_across_tiles_and_threads(monkeypatch: pytest.MonkeyPatch, num_threads: int) -> None:
    """With 20 threads some have no rows: there are 13 bands of them."""
    monkeypatch.setattr(bounds, "ROWS_PER_TILE", 16)
    monkeypatch.setattr(bounds, "COLUMNS_PER_TILE", 48)
    monkeypatch.setattr(bounds, "PAIRS_PER_CHUNK", 100)
    rng = np.random.default_rng(2)
    images = rng.integers(-1, 2, size=(203, 5)).astype(np.float32)
    sounds = rng.integers(-1, 2, size=(203, 5)).astype(np.float32)
    sounds[50:80] = sounds[3]
    images[60:70] = images[0]
    check_against_reference(images, sounds)


@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1e-3, 1.0, 1e30, 1e140])
@pytest.mark.parametrize("spread", [1e-7, 1e-3, 1.0])
def test_bounds_equal_the_reference_at_any_scale(scale: float, spread: float) -> None:
    """What float32 can't hold or tell apart is left to float64: close points, tiny ones, and an outlier's company."""
    rng = np.random.default_rng(7)
    images = scale * (rng.integers(0, 3, size=(300, 6)) + spread * rng.normal(size=(300, 6)))
    sounds = images + scale * spread * rng.integers(-2, 3, size=(300, 6))
    check_against_reference(images, sounds)
    images[17] *= 1e4
    check_against_reference(images, sounds)


def test_float32_and_float64_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    images, sounds = np.random.default_rng(8).normal(size=(2, 700, 40)).astype(np.float32)
    sounds += images / 2
    in_float32 = rank_bounds_both_ways(images, sounds)
    monkeypatch.setattr(bounds, "MOST_DIMENSIONS", 0)
    for ours, theirs in zip(in_float32, rank_bounds_both_ways(images, sounds), strict=True):
        assert ours.nearer.tolist() == theirs.nearer.tolist()
        assert ours.tied.tolist() == theirs.tied.tolist()


def test_memory_grows_with_the_gallery_not_with_its_square() -> None:
    images, sounds = np.random.default_rng(6).normal(size=(2, 6000, 16))
    tracemalloc.start()
    try:
        both_directions(images, sounds)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 60e6  # all distances at once would take 288e6


def test_items_one_bit_apart_are_told_apart() -> None:
    order = np.random.default_rng(5).permutation(50)
    queries, gallery = np.zeros((50, 1)), 1.0 + order[:, None] * np.finfo(np.float64).eps
    assert cross_modal_ranks(queries, gallery).tolist() == (order + 1.0).tolist()
    images_bounds = rank_bounds_both_ways(queries, gallery)[1]
    assert images_bounds.nearer.tolist() == [0] * 50
    assert images_bounds.tied.tolist() == [50] * 50


def test_large_offset_changes_no_rank() -> None:
    rng = np.random.default_rng(3)
    images, sounds = rng.normal(size=(2, 400, 32)).round(3)
    expected = cross_modal_ranks(images, sounds)
    # 2^20 keeps three decimals in float64, and a product of vectors this far out would lose them.
    shifted = cross_modal_ranks((images * 1024).round() + 2.0**30, (sounds * 1024).round() + 2.0**30)
    assert shifted.tolist() == cross_modal_ranks((images * 1024).round(), (sounds * 1024).round()).tolist()
    assert np.abs(shifted - expected).max() < 10


def test_directions_are_mirror_images() -> None:
    rng = np.random.default_rng(4)
    images, sounds = rng.normal(size=(2, 150, 8)).astype(np.float32)
    there, back = both_directions(images, sounds), both_directions(sounds, images)
    assert there["image_to_sound"] == back["sound_to_image"]
    assert there["sound_to_image"] == back["image_to_sound"]
    assert cross_modal_ranks(sounds, images).tolist() == rank_bounds_both_ways(images, sounds)[1].ranks.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_give_tensors(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    queries = torch.randn(40, 6, generator=rng).to(dtype).requires_grad_()
    gallery = torch.randn(40, 6, generator=rng).to(dtype)
    ranks = cross_modal_ranks(queries, gallery)
    nearer, tied = cross_modal_rank_bounds(queries, gallery)
    assert (ranks.dtype, nearer.dtype, tied.dtype) == (torch.float64, torch.int64, torch.int64)
    expected = cross_modal_ranks(queries.detach().double().numpy(), gallery.double().numpy())
    assert isinstance(expected, np.ndarray)
    assert ranks.tolist() == expected.tolist()
    assert torch.equal(ranks, nearer + (tied + 1) / 2)
    assert ranking_metrics(nearer, tied)["median_rank"] == float(np.median(expected))


@pytest.mark.parametrize(
    ("queries", "gallery", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 2)), "same n and d"),
        (np.zeros((3, 2)), np.zeros((3, 1)), "same n and d"),
        (np.zeros(3), np.zeros(3), "same n and d"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "empty"),
        (np.array([[np.nan]]), np.array([[0.0]]), "finite"),
        (np.array([[0.0]]), np.array([[np.inf]]), "finite"),
        (np.array([[0.0], [1e200]]), np.array([[0.0], [0.0]]), "too large"),
    ],
)
def test_bad_embeddings_are_refused(queries: np.ndarray, gallery: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_modal_ranks(queries, gallery)
    with pytest.raises(ValueError, match=message):
        both_directions(torch.from_numpy(queries), torch.from_numpy(gallery))


@pytest.mark.parametrize(
    ("nearer", "tied"), [([], []), ([0, 0], [1]), ([0, 0], [0, 1]), ([-1, 0], [1, 1]), ([1, 0], [2, 1])]
)
def test_impossible_bounds_are_refused(nearer: list[int], tied: list[int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ranking_metrics(np.array(nearer, np.int64), np.array(tied, np.int64))
    with pytest.raises(ValueError, match="gallery_size must be >= 1, got 0"):
        chance_metrics(0)
