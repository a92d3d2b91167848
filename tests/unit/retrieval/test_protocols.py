"""The protocols against slow literal references, and the nearest neighbours against sorting everything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas
import pytest

from pretrain.ranking import both_directions, chance_metrics
from pretrain.ranking.scores import DIRECTIONS
from pretrain.training.embedding import PairEmbeddings
from retrieval.index import NearestNeighbours
from retrieval.protocols import PROTOCOLS
from retrieval.scoring import label_only
from shards.errors import UserError

STANDARD, KHDLR = PROTOCOLS["standard"](), PROTOCOLS["khdlr"]()


@dataclass(frozen=True)
class Sound:
    """What a protocol looks at when it chooses crops."""

    key: str
    num_frames: int


def pairs(n: int, *, dim: int = 6, seed: int = 0, noise: float = 1.0) -> PairEmbeddings:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n, dim)).astype(np.float32)
    sound = (image + noise * rng.normal(size=(n, dim))).astype(np.float32)
    keys = [str(key) for key in rng.permutation(n) + 95]
    return PairEmbeddings(keys, image, sound)


def khdlr_reference(embeddings: PairEmbeddings) -> dict[str, np.ndarray]:
    """The published metric, word for word: average ranks of pairs in key order, a pandas ranking for each query."""
    table = sorted(zip(map(int, embeddings.keys), embeddings.image, embeddings.sound, strict=True), key=lambda r: r[0])
    whole_batches = [table[start : start + 16] for start in range(0, len(table), 16)]
    rows = [row for batch in whole_batches if len(batch) == 16 for row in batch]
    distances = np.array([[np.linalg.norm(i.astype(float) - s) for _, _, s in rows] for _, i, _ in rows])
    relative = distances / distances.mean(axis=1, keepdims=True)
    return {
        "image_to_sound": np.array([pandas.Series(row).rank()[i] for i, row in enumerate(distances)]),
        "sound_to_image": np.array([pandas.Series(column).rank()[j] for j, column in enumerate(relative.T)]),
    }


@pytest.mark.parametrize("n", [16, 31, 53, 130])
def test_khdlr_equals_the_literal_reference(n: int) -> None:
    embeddings = pairs(n)
    expected = khdlr_reference(embeddings)
    selected = KHDLR.select(embeddings)
    gallery_size = 16 * (n // 16)
    assert [int(key) for key in selected.keys] == sorted(map(int, embeddings.keys))[:gallery_size]
    ranking = KHDLR.rank(selected)
    for direction in DIRECTIONS:
        assert ranking.bounds[direction].ranks.tolist() == expected[direction].tolist()
        metrics = KHDLR.metrics(ranking.bounds[direction])
        for k in (1, 5, 10, 100):
            recall = np.mean(expected[direction] < k) if k <= gallery_size else None
            assert metrics[f"recall_at_{k}"] == recall
        assert metrics["recall_at_10_percent"] == np.mean(expected[direction] < math.ceil(gallery_size / 10))
        assert metrics["median_rank"] == np.median(expected[direction])
        assert metrics["mean_rank"] == pytest.approx(expected[direction].mean())


def test_khdlr_divides_by_the_mean_distance_of_each_image() -> None:
    # An image far from everything is still the nearest of its sound, relative to how far it is from the others.
    rng = np.random.default_rng(3)
    image, sound = rng.normal(size=(2, 16, 4)).astype(np.float32)
    image[0] *= 100
    embeddings = PairEmbeddings([str(i) for i in range(16)], image, sound)
    khdlr, standard = KHDLR.rank(embeddings), STANDARD.rank(embeddings)
    assert standard.bounds["sound_to_image"].ranks[0] == 16
    assert khdlr.bounds["sound_to_image"].ranks[0] < 16
    assert khdlr.bounds["image_to_sound"].ranks.tolist() == standard.bounds["image_to_sound"].ranks.tolist()


def test_khdlr_chance_is_that_of_its_recall() -> None:
    chance = KHDLR.chance(208)
    assert [chance[f"recall_at_{k}"] for k in (1, 5, 10, 100)] == [0.0, 4 / 208, 9 / 208, 99 / 208]
    assert chance["recall_at_10_percent"] == 20 / 208
    assert chance["median_rank"] == chance["mean_rank"] == 104.5
    assert KHDLR.chance(96)["recall_at_100"] is None
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(1, 209), (400, 1)), axis=1)
    assert np.mean(orders < 10) == pytest.approx(9 / 208)


def test_khdlr_needs_a_whole_batch() -> None:
    with pytest.raises(UserError, match="only 15; use --protocol standard"):
        KHDLR.select(pairs(15))


def test_khdlr_takes_one_crop_fixed_by_seed_and_key() -> None:
    sounds = [Sound(str(key), 1000) for key in range(200)]

    def starts(seed: int) -> list[int]:
        choose = KHDLR.crop_starts(128, 1, seed)
        chosen = [choose(sound) for sound in sounds]  # type: ignore[arg-type]
        assert all(len(start) == 1 for start in chosen)
        return [start[0] for start in chosen]

    assert starts(0) == starts(0)
    assert starts(0) != starts(1)
    assert min(starts(0)) >= 0
    assert max(starts(0)) <= 1000 - 128
    assert len(set(starts(0))) > 150
    assert KHDLR.crop_starts(128, 1, 0)(Sound("7", 128)) == [0]  # type: ignore[arg-type]


def test_khdlr_on_collapsed_embeddings_ties_all() -> None:
    point = np.ones((32, 4), np.float32)
    ranking = KHDLR.rank(PairEmbeddings([str(i) for i in range(32)], point, point))
    for direction in DIRECTIONS:
        assert ranking.bounds[direction].ranks.tolist() == [16.5] * 32


def test_standard_is_the_contract() -> None:
    embeddings = pairs(120)
    assert STANDARD.select(embeddings) is embeddings
    ranking = STANDARD.rank(embeddings)
    figures = {direction: STANDARD.metrics(ranking.bounds[direction]) for direction in DIRECTIONS}
    assert figures == both_directions(embeddings.image, embeddings.sound)
    assert STANDARD.chance(120) == chance_metrics(120)
    assert STANDARD.chance_recall(120, 12) == STANDARD.chance(120)["recall_at_10_percent"]


@pytest.mark.parametrize("n", [10, 104])
def test_standard_on_collapsed_embeddings_is_exactly_chance(n: int) -> None:
    point = np.full((n, 8), 0.1, np.float32)
    ranking = STANDARD.rank(PairEmbeddings([str(i) for i in range(n)], point, 3 * point))
    for direction in DIRECTIONS:
        assert STANDARD.metrics(ranking.bounds[direction]) == STANDARD.chance(n)


def test_standard_averages_evenly_spaced_crops() -> None:
    choose = STANDARD.crop_starts(128, 10, 0)
    assert choose(Sound("1", 128)) == [0]  # type: ignore[arg-type]
    assert choose(Sound("1", 130)) == [0, 1, 2]  # type: ignore[arg-type]
    many = choose(Sound("1", 1028))  # type: ignore[arg-type]
    assert many == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_nearest_agrees_with_the_ranks(name: str) -> None:
    protocol = PROTOCOLS[name]()
    ranking = protocol.rank(protocol.select(pairs(64)))
    for direction in DIRECTIONS:
        order = protocol.nearest(ranking, direction, list(range(64)), 64)
        assert order.shape == (64, 64)
        for query in range(64):
            place = int(np.flatnonzero(order[query] == query)[0]) + 1
            assert place == ranking.bounds[direction].ranks[query]


def literal_neighbours(gallery: np.ndarray, query: np.ndarray, count: int) -> list[int]:
    squared = np.square(gallery.astype(np.float64) - query).sum(axis=1)
    return np.argsort(squared, kind="stable")[:count].tolist()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_neighbours_equal_sorting_everything(offset: float) -> None:
    rng = np.random.default_rng(0)
    gallery = (rng.integers(-2, 3, size=(500, 4)) + offset).astype(np.float32)
    queries = (rng.integers(-2, 3, size=(20, 4)) + offset).astype(np.float32)
    numbers, distances = NearestNeighbours(gallery).search(queries, 30)
    for query, found, far in zip(queries, numbers, distances, strict=True):
        assert found.tolist() == literal_neighbours(gallery, query, 30)
        assert far.tolist() == pytest.approx(np.linalg.norm(gallery[found].astype(np.float64) - query, axis=1))


def test_neighbours_closer_than_float32_can_tell_keep_their_order() -> None:
    order = np.random.default_rng(1).permutation(300)
    gallery = 1.0 + order[:, None] * 1e-9
    numbers, _ = NearestNeighbours(np.concatenate([gallery, [[50.0]]])).search(np.zeros((1, 1)), 5)
    assert order[numbers[0]].tolist() == [0, 1, 2, 3, 4]


def test_neighbours_of_a_small_or_an_empty_gallery() -> None:
    numbers, distances = NearestNeighbours(np.zeros((3, 2))).search(np.ones((2, 2)), 5)
    assert numbers.tolist() == [[0, 1, 2]] * 2
    assert distances.tolist() == [[math.sqrt(2)] * 3] * 2
    with pytest.raises(ValueError, match="n > 0"):
        NearestNeighbours(np.empty((0, 2)))


def test_label_known_only_is_chance_within_the_label() -> None:
    labels = ["shore"] * 3 + ["town"] * 7
    figures = label_only(PROTOCOLS["standard"](), labels)
    assert figures is not None
    # A query ranks at random among the pairs of its label, before all others.
    assert figures["recall_at_1"] == pytest.approx((3 * (1 / 3) + 7 * (1 / 7)) / 10)
    assert figures["recall_at_5"] == pytest.approx((3 + 7 * 5 / 7) / 10)
    assert figures["median_rank"] == 4.0
    assert figures["mean_rank"] == pytest.approx((3 * 2 + 7 * 4) / 10)
    one_label = label_only(PROTOCOLS["standard"](), ["sea"] * 10)
    assert one_label == PROTOCOLS["standard"]().chance(10)
    assert label_only(PROTOCOLS["standard"](), ["shore", None]) is None
