"""How the protocols of later work count: average ranks below k, a tenth of the gallery, nDCG@10; what was published."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.ranking import RankBounds
from pretrain.ranking.scores import DIRECTIONS
from pretrain.training.embedding import PairEmbeddings
from retrieval.embedding import EmbeddedSplit
from retrieval.metrics_file import published_lines
from retrieval.protocols import PROTOCOLS
from retrieval.protocols.mteb import ndcg_at_10
from retrieval.scoring import score


def pairs(n: int, *, dim: int = 5) -> PairEmbeddings:
    rng = np.random.default_rng(n)
    image = (rng.normal(size=(n, dim)) * rng.uniform(0.1, 10, size=(n, 1))).astype(np.float32)
    sound = (image + rng.normal(size=(n, dim))).astype(np.float32)
    return PairEmbeddings([str(key) for key in rng.permutation(n) + 100], image, sound)


def cosine_ranks(embeddings: PairEmbeddings) -> dict[str, np.ndarray]:
    """Average ranks by cosine similarity, which of a vector of zeros is 0, a pandas ranking for each query."""

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        norm = np.linalg.norm(one.astype(float)) * np.linalg.norm(other.astype(float))
        # Rounded, because a product rounds equal cosines differently.
        return round(float(one.astype(float) @ other) / norm, 12) if norm else 0.0

    similarity = np.array([[cosine(image, sound) for sound in embeddings.sound] for image in embeddings.image])
    return {
        direction: np.array([pandas.Series(row).rank(ascending=False)[i] for i, row in enumerate(matrix)])
        for direction, matrix in (("image_to_sound", similarity), ("sound_to_image", similarity.T))
    }


@pytest.mark.parametrize("n", [37, 110, 150])
@pytest.mark.parametrize("name", ["geoclap", "psm", "psm-corrected", "geosound"])
def test_ranks_by_cosine_below_k(name: str, n: int) -> None:
    protocol, embeddings = PROTOCOLS[name](), pairs(n)
    expected = cosine_ranks(embeddings)
    metrics = score(protocol, EmbeddedSplit(embeddings, [{}] * n, {"split": "test"})).metrics
    tenth = math.ceil(n / 10) if name == "geoclap" else 0.1 * n
    for direction in DIRECTIONS:
        ranks = expected[direction]
        for k in (1, 5, 10, 100):
            assert metrics[direction][f"recall_at_{k}"] == (np.mean(ranks < k) if k <= n else None)
        assert metrics[direction]["recall_at_10_percent"] == np.mean(ranks < tenth)
        assert metrics[direction]["median_rank"] == np.median(ranks)
    every_rank = np.arange(1, n + 1)
    assert metrics["chance"]["recall_at_10"] == np.mean(every_rank < 10)
    assert metrics["chance"]["recall_at_10_percent"] == np.mean(every_rank < tenth)


def test_a_tenth_of_the_gallery_is_not_rounded() -> None:
    # Rank 2.5 in a gallery of 21 is below a tenth rounded up, 3, but not below 2.1.
    nearer, tied = np.full(21, 1, np.int64), np.full(21, 2, np.int64)
    assert PROTOCOLS["psm"]().metrics(RankBounds(nearer, tied))["recall_at_10_percent"] == 0.0
    assert PROTOCOLS["geoclap"]().metrics(RankBounds(nearer, tied))["recall_at_10_percent"] == 1.0


def test_tied_cosines_share_their_average_rank_and_zeros_have_cosine_zero() -> None:
    rng = np.random.default_rng(0)
    axes = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]).astype(np.float32)
    image, sound = (axes[rng.integers(0, 7, 60)] * 2.0 ** rng.integers(-3, 4, (60, 1)) for _ in range(2))
    embeddings = PairEmbeddings([str(key) for key in range(60)], image, sound)
    ranking = PROTOCOLS["geoclap"]().rank(embeddings)
    expected = cosine_ranks(embeddings)
    for direction in DIRECTIONS:
        assert ranking.bounds[direction].ranks.tolist() == expected[direction].tolist()


def test_spectrum4geo_counts_ranks_up_to_k() -> None:
    protocol, embeddings = PROTOCOLS["spectrum4geo"](), pairs(120)
    expected = cosine_ranks(embeddings)
    ranking = protocol.rank(embeddings)
    for direction in DIRECTIONS:
        metrics = protocol.metrics(ranking.bounds[direction])
        assert [metrics[f"recall_at_{k}"] for k in (1, 5, 10, 100)] == pytest.approx(
            [np.mean(expected[direction] <= k) for k in (1, 5, 10, 100)]
        )
    assert protocol.chance(200)["recall_at_10"] == 0.05


@given(places=st.lists(st.tuples(st.integers(0, 14), st.integers(1, 7)), min_size=1, max_size=8))
def test_ndcg_is_the_expectation_over_the_orders_of_tied_items(places: list[tuple[int, int]]) -> None:
    def dcg(rank: int) -> float:
        relevant = [0.0] * (rank - 1) + [1.0] + [0.0] * 20
        return sum(gain / math.log2(position + 2) for position, gain in enumerate(relevant[:10]))

    expected = [
        np.mean([dcg(nearer + order.index(0) + 1) for order in itertools.permutations(range(tied))])
        for nearer, tied in ((nearer, min(tied, 5)) for nearer, tied in places)
    ]
    nearer, tied = np.array([(nearer, min(tied, 5)) for nearer, tied in places]).T
    assert ndcg_at_10(nearer, tied) == pytest.approx(expected)


def test_mteb_ranks_a_thousand_queries_among_2048_places() -> None:
    protocol, embeddings = PROTOCOLS["mteb"](), pairs(2300)
    metrics = score(protocol, EmbeddedSplit(embeddings, [{}] * 2300, {"split": "test"})).metrics
    assert metrics["gallery_size"] == 2048
    selected = protocol.select(embeddings)
    again = PairEmbeddings(embeddings.keys[::-1], embeddings.image[::-1], embeddings.sound[::-1])
    assert protocol.select(again).keys == selected.keys
    image, sound = selected.image[:1000].astype(float), selected.sound.astype(float)
    squared = (image**2).sum(1)[:, None] - 2 * image @ sound.T + (sound**2).sum(1)
    ranks = (squared < np.diagonal(squared)[:, None]).sum(axis=1) + 1
    found = metrics["image_to_sound"]
    assert found["ndcg_at_10"] == pytest.approx(np.mean(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)), abs=1e-3)
    assert found["mean_rank"] == pytest.approx(ranks.mean(), rel=1e-3)
    assert found["recall_at_1"] == pytest.approx(np.mean(ranks == 1), abs=2e-3)
    # Of the measured .0025 to .0027 of random models, the standard deviation is .0011.
    assert metrics["chance"]["ndcg_at_10"] == pytest.approx(
        sum(1 / math.log2(rank + 1) for rank in range(1, 11)) / 2048
    )


def test_collapsed_embeddings_have_the_ndcg_of_chance() -> None:
    point = np.ones((1500, 3), np.float32)
    protocol = PROTOCOLS["mteb"]()
    ranking = protocol.rank(protocol.select(PairEmbeddings([str(key) for key in range(1500)], point, point)))
    assert protocol.metrics(ranking.bounds["image_to_sound"]) == pytest.approx(protocol.chance(1500))


def test_published_figures_stand_beside_ours_and_other_galleries_are_named() -> None:
    published = {name: PROTOCOLS[name]().published for name in PROTOCOLS}
    assert published["standard"] is None
    assert published["psm-corrected"] is None
    # Typed from the papers a second time.
    figures = {name: entry.beside("test", 7)["figures"] for name, entry in published.items() if entry}
    assert [row["scores"] for row in figures["khdlr"]] == [
        {"recall_at_100": recall, "median_rank": rank}
        for recall, rank in ((0.1901, 744), (0.1528, 836), (0.2912, 565), (0.2835, 580))
    ]
    assert [row["scores"] for row in figures["geoclap"]] == [{"recall_at_100": 0.45}]
    assert [(row["direction"], row["scores"]) for row in figures["spectrum4geo"]] == [
        (
            "sound_to_image",
            {
                "recall_at_1": 0.199,
                "recall_at_5": 0.335,
                "recall_at_10": 0.405,
                "recall_at_100": 0.642,
                "median_rank": 25,
            },
        )
    ]
    sizes = {name: dict(entry.gallery_sizes) for name, entry in published.items() if entry}
    assert sizes == {
        "khdlr": {},
        "geoclap": {"train": 35554, "val": 5079, "test": 10159},
        "spectrum4geo": {"test": 10179},
        "psm": {"train": 41469, "val": 3242, "test": 5801},
        "geosound": {"val": 4976, "test": 9931},
        "mteb": {"test": 2048},
    }
    assert published["psm"] is not None
    assert published["psm"].beside("val", 3242)["gallery_differs"] is None

    metrics = score(PROTOCOLS["geoclap"](), EmbeddedSplit(pairs(40), [{}] * 40, {"split": "test"})).metrics
    assert json.loads(json.dumps(metrics["published"])) == metrics["published"]
    lines = published_lines(metrics)
    assert lines[0] == "GeoCLAP (Khanal et al., 2023)"
    assert lines[1].startswith("published, GeoCLAP, sound → image: Recall@100 45.00 % (published as image-to-sound")
    assert lines[2].startswith("this gallery has 40 pairs and the published one 10,159; ranks in a smaller gallery")
