"""Which pairs a study shows: half of them true, half with the sound that the model finds nearest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.embedding import PairEmbeddings

NEAREST_FEW = 16
"""Seldom are more nearest sounds passed over, as recorded at the image's place."""


@dataclass(frozen=True)
class DrawnPair:
    """An image and the sound that is shown with it.

    Attributes:
        image: number of the pair whose image it is.
        sound: number of the pair whose sound it is; the same for a true pair.
        rank: place of that sound among all sounds by distance to the image, 1 the nearest.
        distance: Euclidean, between the two embeddings.
    """

    image: int
    sound: int
    rank: int
    distance: float

    @property
    def is_true(self) -> bool:
        """Whether image and sound are one pair's."""
        return self.image == self.sound


def draw_pairs(
    embeddings: PairEmbeddings,
    num_pairs: int,
    seed: int,
    is_same_place: Callable[[int, int], bool],
    on_image: Callable[[], object] = lambda: None,
) -> list[DrawnPair]:
    """Draws as many true as retrieved pairs, in random order, no image twice.

    A retrieved pair has the sound that is nearest to the image of all that were not recorded there (SoundingEarth,
    section V-E, shows the first sound found and is silent on finds that are the true one). No sound comes twice while
    there are images enough whose nearest sounds differ; after that a sound is repeated rather than a farther one taken.

    Args:
        embeddings: n pairs, all of which can be heard.
        num_pairs: even, at least 2.
        seed: fixes the choice, the order, and which of equally near sounds is taken.
        is_same_place: whether the sound of the second pair was recorded where the image of the first one lies; not
            asked of a pair with itself.
        on_image: called after each image whose nearest sound was looked for; all n are where few sounds are found.

    Raises:
        ValueError: there are not pairs enough.
    """
    generator = np.random.default_rng(seed)
    n, half = len(embeddings.keys), num_pairs // 2
    images, tie_break = generator.permutation(n).tolist(), generator.permutation(n)

    def retrieve(image: int) -> DrawnPair | None:
        distances = _distances(embeddings, image)
        on_image()
        for sound in _nearest_first(distances, tie_break):
            if sound != image and not is_same_place(image, sound):
                return _pair(distances, image, sound)
        return None

    retrieved = _choose((retrieve(image) for image in images), half, set())
    taken = {pair.image for pair in retrieved}
    true = (_pair(_distances(embeddings, image), image, image) for image in images if image not in taken)
    drawn = retrieved + _choose(true, half, {pair.sound for pair in retrieved})
    if len(drawn) < num_pairs:
        raise ValueError(f"{n} pairs don't give {num_pairs}")
    return [drawn[number] for number in generator.permutation(num_pairs)]


def _choose(candidates: Iterable[DrawnPair | None], count: int, heard: set[int]) -> list[DrawnPair]:
    """The first `count` whose sounds are new, filled up with the first others; looks no further than it must."""
    chosen: list[DrawnPair] = []
    others: list[DrawnPair] = []
    heard = set(heard)
    for pair in candidates:
        if len(chosen) == count:
            break
        if pair is not None:
            (others if pair.sound in heard else chosen).append(pair)
            heard.add(pair.sound)
    return chosen + others[: count - len(chosen)]


def _distances(embeddings: PairEmbeddings, image: int) -> NDArray[np.float64]:
    """(n,) from one image to every sound."""
    from scipy.spatial.distance import cdist  # takes a while to load, and only this needs it

    return cdist(embeddings.image[image : image + 1], embeddings.sound)[0]


def _nearest_first(distances: NDArray[np.float64], tie_break: NDArray[np.int64]) -> Iterator[int]:
    """Numbers of sounds, the nearest first; those beyond the nearest few are put in order only when asked for."""
    few = min(NEAREST_FEW, len(distances)) - 1
    is_near = distances <= np.partition(distances, few)[few]
    for numbers in (np.flatnonzero(is_near), np.flatnonzero(~is_near)):
        yield from numbers[np.lexsort((tie_break[numbers], distances[numbers]))].tolist()


def _pair(distances: NDArray[np.float64], image: int, sound: int) -> DrawnPair:
    rank = 1 + int(np.sum(distances < distances[sound]))
    return DrawnPair(image, sound, rank, float(distances[sound]))
