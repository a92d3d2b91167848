"""D@k and recall at 500 and 1,000 against literal references, and what small galleries and ties do to them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.ranking.scores import DIRECTIONS
from pretrain.training.embedding import PairEmbeddings
from retrieval.distances_at_k import distances_at_k
from retrieval.embedding import EmbeddedSplit
from retrieval.place_distances import expected_nearest_km, km_of, points_of, squared_chords
from retrieval.protocols import PROTOCOLS
from retrieval.protocols.ordering import Ordering, ProductDistances
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
    distances = np.sqrt(((image[:, None] - sound[None]) ** 2).sum(axis=2))
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


def literal_km(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The haversine formula, of places in degrees."""
    (longitudes, latitudes), (other_longitudes, other_latitudes) = np.radians(ones).T[..., None], np.radians(others).T
    squares = np.sin((other_latitudes - latitudes) / 2) ** 2
    squares += np.cos(latitudes) * np.cos(other_latitudes) * np.sin((other_longitudes - longitudes) / 2) ** 2
    return np.asarray(2 * 6371.0088 * np.arcsin(np.sqrt(np.minimum(1, squares))))


def literal_nearest_km(distances: np.ndarray, km: np.ndarray, k: int) -> float:
    """Of one query: the expectation over the orders of what is tied with the k-th, by binomial coefficients."""
    kth = np.sort(distances)[k - 1]
    num_drawn = k - int((distances < kth).sum())
    surest = km[distances < kth].min(initial=math.inf)
    tied = np.sort(np.minimum(surest, km[distances == kth])).tolist()
    orders = math.comb(len(tied), num_drawn)
    shares = [math.comb(len(tied) - 1 - i, num_drawn - 1) / orders for i in range(len(tied))]
    return sum(share * value for share, value in zip(shares, tied, strict=True))


def clustered(split: EmbeddedSplit) -> EmbeddedSplit:
    """The same embeddings at places of which many are the same and all others a few kilometres apart."""
    rng = np.random.default_rng(1)
    places = rng.uniform((7.0, 47.0), (7.3, 47.2), (len(split.metadata) // 3, 2))
    chosen = places[rng.integers(len(places), size=len(split.metadata))]
    return EmbeddedSplit(
        split.embeddings, [{"longitude": float(x), "latitude": float(y)} for x, y in chosen], split.provenance
    )


def far_from_the_origin(split: EmbeddedSplit) -> EmbeddedSplit:
    """Every third pair shares one embedding, and all lie where the rounding of products breaks such ties."""
    image, sound = (side.copy() for side in (split.embeddings.image, split.embeddings.sound))
    image[::3], sound[::3] = image[0], sound[0]
    moved = (np.float32(side * 0.37 + 4321.1) for side in (image, sound))
    return EmbeddedSplit(PairEmbeddings(split.embeddings.keys, *moved), split.metadata, split.provenance)


SPLITS: dict[str, Callable[[int], EmbeddedSplit]] = {
    "no ties": a_split,
    "many ties": functools.partial(a_split, is_coarse=True),
    "places near each other": lambda n: clustered(a_split(n)),
    "repeated, far from the origin": lambda n: far_from_the_origin(a_split(n)),
}


@pytest.mark.parametrize(
    ("name", "kind"), [*(("standard", kind) for kind in SPLITS), ("geoclap", "many ties"), ("mteb", "no ties")]
)
def test_figures_are_those_of_a_literal_computation(name: str, kind: str) -> None:
    protocol, split = PROTOCOLS[name](), SPLITS[kind](1003)
    ranking = protocol.rank(split.embeddings)
    found = distances_at_k(protocol, ranking, split.metadata)
    places = np.array([[place["longitude"], place["latitude"]] for place in split.metadata])
    num_queries = protocol.num_queries(1003)
    km = literal_km(places[:num_queries], places)
    for direction in DIRECTIONS:
        distances = protocol.ordering(ranking, direction).distances(np.arange(num_queries))
        for k in (100, 1000):
            expected = [literal_nearest_km(row, of_row, k) for row, of_row in zip(distances, km, strict=True)]
            assert found.of_queries[direction][f"km_at_{k}"] == pytest.approx(expected, rel=1e-9)
            assert found.means()[direction][f"km_at_{k}"] == pytest.approx(np.mean(expected), rel=1e-9)
    for k in (100, 1000):
        expected = [literal_nearest_km(np.zeros(1003), row, k) for row in km[::100]]
        shares = np.array([math.comb(1002 - i, k - 1) / math.comb(1003, k) for i in range(1003)])
        assert shares @ np.sort(km[::100], axis=1).T == pytest.approx(expected, rel=1e-9)
        assert found.means()["chance"][f"km_at_{k}"] == pytest.approx(np.mean(np.sort(km, axis=1) @ shares), rel=1e-9)


@pytest.mark.parametrize("name", ["standard", "khdlr", "geoclap"])
def test_only_what_may_be_tied_takes_exact_distances(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    exact = Ordering.distances

    def counting(self: Ordering, numbers: np.ndarray) -> np.ndarray:
        taken.extend(numbers)
        return exact(self, numbers)

    monkeypatch.setattr(Ordering, "distances", counting)
    split = a_split(1008)
    protocol = PROTOCOLS[name]()
    distances_at_k(protocol, protocol.rank(split.embeddings), split.metadata)
    assert not taken
    split = far_from_the_origin(split)
    distances_at_k(protocol, protocol.rank(split.embeddings), split.metadata)
    assert taken


@pytest.mark.parametrize("has_scales", [False, True])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), offset=st.sampled_from([0.0, 1e-3, 1e4]), dimensions=st.integers(1, 20))
def test_products_differ_from_exact_squares_by_their_tolerance_at_most(
    has_scales: bool, seed: int, offset: float, dimensions: int
) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = rng.normal(offset, 10.0 ** rng.integers(-3, 3), (2, 8, dimensions)).astype(np.float32)
    gallery[::4] = queries[::4]
    scales = rng.uniform(0.1, 3, 8) if has_scales else None
    squares, tolerances = ProductDistances(Ordering(queries, gallery, scales)).squares(3, 6)
    for number, (row, tolerance) in enumerate(zip(squares, tolerances, strict=True), start=3):
        for item, square in enumerate(row):
            parts = [
                (Fraction(float(a)) - Fraction(float(b))) ** 2
                for a, b in zip(queries[number], gallery[item], strict=True)
            ]
            exact = sum(parts) / (1 if scales is None else Fraction(scales[item]) ** 2)
            assert abs(square - exact) <= tolerance


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
    means = distances_at_k(STANDARD, STANDARD.rank(split.embeddings), split.metadata).means()
    assert means == {part: {} for part in (*DIRECTIONS, "chance")}


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
    others = np.array([[0.0, 0.0], [90, 0], [0, -90], [180, 0], [-180, 0]])
    found = km_of(squared_chords(points_of(np.array([[0.0, 0.0]])), points_of(others)))
    assert found[0].tolist() == pytest.approx([0, quarter, quarter, 2 * quarter, 2 * quarter])


@given(
    st.floats(-180, 180),
    st.floats(-85, 85),
    st.floats(1e-9, 1e-2),
    st.floats(0, 2 * math.pi),
)
def test_small_distances_keep_their_precision(longitude: float, latitude: float, degrees: float, turn: float) -> None:
    places = np.array(
        [[longitude, latitude], [longitude + degrees * math.cos(turn), latitude + degrees * math.sin(turn)]]
    )
    found = km_of(squared_chords(*points_of(places)[:, None]))
    assert found[0, 0] == pytest.approx(literal_km(places[:1], places[1:])[0, 0], abs=1e-10)
