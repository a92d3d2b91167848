"""Which pairs a study shows: balanced, no image twice, the nearest sound that is not the image's own, by seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.training.embedding import PairEmbeddings
from retrieval.study.pairs import draw_pairs


def embed(n: int, seed: int, *, grid: int = 1000) -> PairEmbeddings:
    """n pairs on a grid of whole numbers; a coarse grid has many equal distances."""
    generator = np.random.default_rng(seed)
    image, sound = (generator.integers(0, grid, (n, 2)).astype(np.float32) for _ in range(2))
    return PairEmbeddings([str(i) for i in range(n)], image, sound)


def never(image: int, sound: int) -> bool:
    return False


def distance(embeddings: PairEmbeddings, image: int, sound: int) -> float:
    return float(np.sqrt(np.sum((embeddings.image[image].astype(float) - embeddings.sound[sound].astype(float)) ** 2)))


@given(
    n=st.integers(2, 30), half=st.integers(1, 6), seed=st.integers(0, 2**32), grid=st.sampled_from([1, 3, 1000]),
    places=st.integers(2, 9),
)  # fmt: skip
def test_it_keeps_its_rules(n: int, half: int, seed: int, grid: int, places: int) -> None:
    embeddings = embed(n, seed, grid=grid)

    def same(image: int, sound: int) -> bool:
        assert image != sound
        return image % places == sound % places

    if 2 * half > n:
        with pytest.raises(ValueError, match="can't draw"):
            draw_pairs(embeddings, 2 * half, seed, same)
        return
    drawn = draw_pairs(embeddings, 2 * half, seed, same)
    assert drawn == draw_pairs(embeddings, 2 * half, seed, same)
    assert len(drawn) == 2 * half
    assert sum(pair.is_true for pair in drawn) == half
    assert len({pair.image for pair in drawn}) == 2 * half
    for pair in drawn:
        others = [distance(embeddings, pair.image, other) for other in range(n)]
        assert pair.distance == pytest.approx(others[pair.sound])
        assert pair.rank == 1 + sum(other < others[pair.sound] - 1e-9 for other in others)
        if not pair.is_true:
            assert not same(pair.image, pair.sound)
            allowed = [others[j] for j in range(n) if j != pair.image and not same(pair.image, j)]
            assert pair.distance == pytest.approx(min(allowed))


@given(seed=st.integers(0, 2**32))
def test_no_sound_comes_twice_where_there_is_choice(seed: int) -> None:
    embeddings = embed(40, seed)
    nearest = {
        min((j for j in range(40) if j != i), key=lambda j, i=i: distance(embeddings, i, j))  # type: ignore[misc]
        for i in range(40)
    }
    drawn = draw_pairs(embeddings, 10, seed, never)
    if len(nearest) >= 5:
        assert len({pair.sound for pair in drawn}) == 10


def test_a_sound_is_repeated_rather_than_a_farther_one_taken() -> None:
    # All images lie beside sound 0; only image 0 has another nearest one.
    image = np.zeros((8, 1), np.float32)
    sound = np.arange(8, dtype=np.float32)[:, None]
    drawn = draw_pairs(PairEmbeddings([str(i) for i in range(8)], image, sound), 6, 0, never)
    retrieved = sorted(pair.sound for pair in drawn if not pair.is_true)
    assert retrieved in ([0, 0, 1], [0, 0, 0])
    assert {pair.rank for pair in drawn if pair.sound == 0} == {1}


def test_the_nearest_beyond_the_first_few_are_found() -> None:
    # The 30 sounds nearest to an image are of its place, more than are put in order at first.
    embeddings = embed(60, 1)
    for pair in draw_pairs(embeddings, 20, 0, lambda image, sound: order(embeddings, image).index(sound) < 30):
        if not pair.is_true:
            assert pair.sound == next(j for j in order(embeddings, pair.image)[30:] if j != pair.image)


def order(embeddings: PairEmbeddings, image: int) -> list[int]:
    return sorted(range(len(embeddings.keys)), key=lambda sound: distance(embeddings, image, sound))


def test_every_image_is_looked_at_only_where_few_sounds_are_found() -> None:
    n, looked_at = 300, []
    apart, together = embed(n, 0), np.zeros((n, 2), np.float32)
    collapsed = PairEmbeddings(apart.keys, together, apart.sound)
    for embeddings in (apart, collapsed):
        count = itertools.count()
        draw_pairs(embeddings, 6, 0, never, lambda: next(count))  # noqa: B023
        looked_at.append(next(count))
    assert looked_at[0] < 30
    assert looked_at[1] == n


def test_the_seed_chooses_pairs_and_order() -> None:
    embeddings = embed(60, 0)
    drawn = [tuple((p.image, p.sound) for p in draw_pairs(embeddings, 20, seed, never)) for seed in range(5)]
    assert len(set(drawn)) == 5
    kinds = [tuple(i == s for i, s in pairs) for pairs in drawn]
    assert len(set(kinds)) == 5


def test_equally_near_sounds_share_their_chances() -> None:
    embeddings = embed(12, 0, grid=1)
    sounds = {pair.sound for seed in range(40) for pair in draw_pairs(embeddings, 2, seed, never) if not pair.is_true}
    assert len(sounds) > 6


def test_a_place_alone_has_nothing_to_retrieve() -> None:
    with pytest.raises(ValueError, match="can't draw"):
        draw_pairs(embed(9, 0), 2, 0, lambda image, sound: True)
