"""D@k and recall at 500 and 1,000 against literal references, and what small galleries and ties do to them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.ranking_scores import DIRECTIONS
from pretrain.training.embedding import PairEmbeddings
from retrieval.distances_at_k import distances_at_k
from retrieval.embedding import EmbeddedSplit
from retrieval.place_distances import expected_nearest_km, great_circle_km
from retrieval.protocols import PROTOCOLS
from retrieval.scoring import score

STANDARD, KHDLR = PROTOCOLS["standard"](), PROTOCOLS["khdlr"]()


def kilometres(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The spherical law of cosines, for places that are not near."""
    (longitude, latitude), (other_longitude, other_latitude) = (
        map(math.radians, (place["longitude"], place["latitude"])) for place in (one, other)
    )
    cosine = math.sin(latitude) * math.sin(other_latitude) + math.cos(latitude) * math.cos(other_latitude) * math.cos(
        other_longitude - longitude
    )
    return 0.0 if one == other else 6371.0088 * math.acos(max(-1.0, min(1.0, cosine)))


def a_split(n: int, *, is_coarse: bool = False) -> EmbeddedSplit:
    """Pairs in key order, with places all over the world; coarse embeddings have many ties."""
    rng = np.random.default_rng(n)
    image = rng.normal(size=(n, 4)).astype(np.float32)
    sound = (image + 2 * rng.normal(size=(n, 4))).astype(np.float32)
    if is_coarse:
        image, sound = np.round(image), np.round(sound)
    places = [{"longitude": float(x), "latitude": float(y)} for x, y in rng.uniform((-180, -80), (180, 80), (n, 2))]
    return EmbeddedSplit(PairEmbeddings([str(key) for key in range(n)], image, sound), places, {})


@pytest.mark.parametrize("is_coarse", [False, True])
def test_khdlr_has_the_authors_figures(is_coarse: bool) -> None:
    n = 528
    split = a_split(n, is_coarse=is_coarse)
    image, sound = split.embeddings.image.astype(float), split.embeddings.sound.astype(float)
    distances = np.array([[np.linalg.norm(i - s) for s in sound] for i in image])
    relative = (distances / distances.mean(axis=1, keepdims=True)).T
    metrics = score(KHDLR, split).metrics
    for direction, matrix in (("image_to_sound", distances), ("sound_to_image", relative)):
        nearest, ranks = [], []
        for query, row in enumerate(matrix):
            top = pandas.Series(row).nsmallest(100).index
            nearest.append(min(kilometres(split.metadata[query], split.metadata[match]) for match in top))
            ranks.append(pandas.Series(row).rank()[query])
        assert metrics[direction]["km_at_100"] == pytest.approx(np.mean(nearest), abs=1e-3)
        assert metrics[direction]["recall_at_500"] == np.mean(np.array(ranks) < 500)
    assert metrics["chance"]["recall_at_500"] == 499 / n


def test_standard_takes_the_nearest_of_the_top_k() -> None:
    split = a_split(1003)
    metrics = score(STANDARD, split).metrics
    for direction, (queries, gallery) in zip(
        DIRECTIONS, itertools.permutations((split.embeddings.image, split.embeddings.sound)), strict=True
    ):
        for k in (100, 1000):
            nearest = []
            for number, query in enumerate(queries[:40]):
                top = np.argsort(np.linalg.norm(gallery.astype(float) - query, axis=1))[:k]
                nearest.append(min(kilometres(split.metadata[number], split.metadata[match]) for match in top))
            ranking = STANDARD.rank(split.embeddings)
            found = STANDARD.nearest_km(
                STANDARD.distances(ranking, direction, range(40)),
                great_circle_km(*(np.array([[*place.values()] for place in split.metadata[:m]]) for m in (40, 1003))),
                k,
            )
            assert found.tolist() == pytest.approx(nearest, abs=1e-3)
        ranks = ranking.bounds[direction].ranks
        assert metrics[direction]["recall_at_1000"] == pytest.approx(np.mean(ranks <= 1000))
        assert 0 <= metrics[direction]["km_at_1000"] <= metrics[direction]["km_at_100"]


@pytest.mark.parametrize("n", [100, 500, 1000])
def test_collapsed_embeddings_are_chance_on_every_figure(n: int) -> None:
    split = a_split(n)
    point = np.full((n, 4), 0.1, np.float32)
    metrics = score(
        STANDARD, EmbeddedSplit(PairEmbeddings(split.embeddings.keys, point, point), split.metadata, {})
    ).metrics
    assert "km_at_100" in metrics["chance"]
    for direction in DIRECTIONS:
        assert metrics[direction] == pytest.approx(metrics["chance"], rel=1e-12)


def test_small_galleries_and_pairs_without_a_place_leave_figures_out() -> None:
    assert score(STANDARD, a_split(99)).metrics["chance"].keys().isdisjoint({"km_at_100", "recall_at_500"})
    metrics = score(STANDARD, a_split(500)).metrics
    for part in (*DIRECTIONS, "chance"):
        assert {"km_at_100", "recall_at_500"} <= metrics[part].keys()
        assert {"km_at_1000", "recall_at_1000"}.isdisjoint(metrics[part])
    split = a_split(120)
    split.metadata[7] = {"longitude": 8.0}
    assert distances_at_k(STANDARD, STANDARD.rank(split.embeddings), split.metadata) == {}


@given(
    distances=st.lists(st.integers(0, 3), min_size=2, max_size=6),
    data=st.data(),
)
def test_ties_count_as_the_expectation_over_their_orders(distances: list[int], data: st.DataObject) -> None:
    n = len(distances)
    km = data.draw(st.lists(st.integers(0, 50).map(float), min_size=n, max_size=n))
    k = data.draw(st.integers(1, n))
    orders = list(itertools.permutations(range(n)))
    minima = []
    for order in orders:
        top = sorted(range(n), key=lambda i: (distances[i], order[i]))[:k]
        minima.append(min(km[i] for i in top))
    found = expected_nearest_km(np.array([distances], float), np.array([km]), k)
    assert found[0] == pytest.approx(np.mean(minima))


def test_great_circle_distances() -> None:
    quarter = 6371.0088 * math.pi / 2
    found = great_circle_km(np.array([[0.0, 0.0]]), np.array([[0.0, 0.0], [90, 0], [0, -90], [180, 0], [-180, 0]]))
    assert found[0].tolist() == pytest.approx([0, quarter, quarter, 2 * quarter, 2 * quarter])
