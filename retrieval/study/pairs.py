"""Draws the pairs of a study: half true, half with the sound that the model finds nearest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.training.embedding import PairEmbeddings

NEAREST_FEW = 16
"""Number of nearest sounds sorted first; more are rarely skipped for being from the image's place."""


@dataclass(frozen=True)
class DrawnPair:
    """An image and the sound shown with it.

    Attributes:
        image: number of the pair that the image is from.
        sound: number of the pair that the sound is from; the same for a true pair.
        rank: rank of the sound by distance to the image, 1 for the nearest.
        distance: Euclidean distance between the two embeddings.
    """

    image: int
    sound: int
    rank: int
    distance: float

    @property
    def is_true(self) -> bool:
        """Whether image and sound are from the same pair."""
        return self.image == self.sound


def draw_pairs(
    embeddings: PairEmbeddings,
    num_pairs: int,
    seed: int,
    is_same_place: Callable[[int, int], bool],
    on_image: Callable[[], object] = lambda: None,
) -> list[DrawnPair]:
    """Draws equally many true and retrieved pairs in random order, no image twice.

    A retrieved pair has the nearest sound to the image among all sounds that were not recorded there. (SoundingEarth,
    section V-E, uses the nearest sound, and does not say what happens if that is the true one.) Sounds are repeated
    only if there are too few images with distinct nearest sounds; a farther sound is never used instead.

    Args:
        embeddings: n pairs, all with a listening clip.
        num_pairs: even, at least 2.
        seed: determines the selection, the order, and the choice among equally near sounds.
        is_same_place: called with the number of an image and of another pair's sound; whether the sound was recorded
            where the image is.
        on_image: called after the search for each image; up to n times if few distinct sounds are found.

    Raises:
        ValueError: there are not enough pairs.
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
        raise ValueError(f"can't draw {num_pairs} from {n} pairs")
    return [drawn[number] for number in generator.permutation(num_pairs)]


def _choose(candidates: Iterable[DrawnPair | None], count: int, heard: set[int]) -> list[DrawnPair]:
    """The first `count` with new sounds, filled up with the first others; consumes no more candidates than needed."""
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
    """(n,) distances from one image to all sounds."""
    from scipy.spatial.distance import cdist  # slow to import, and needed only here

    return cdist(embeddings.image[image : image + 1], embeddings.sound)[0]


def _nearest_first(distances: NDArray[np.float64], tie_break: NDArray[np.int64]) -> Iterator[int]:
    """Indices of the sounds, nearest first; all but the nearest few are sorted only if needed."""
    few = min(NEAREST_FEW, len(distances)) - 1
    is_near = distances <= np.partition(distances, few)[few]
    for numbers in (np.flatnonzero(is_near), np.flatnonzero(~is_near)):
        yield from numbers[np.lexsort((tie_break[numbers], distances[numbers]))].tolist()


def _pair(distances: NDArray[np.float64], image: int, sound: int) -> DrawnPair:
    rank = 1 + int(np.sum(distances < distances[sound]))
    return DrawnPair(image, sound, rank, float(distances[sound]))
