"""How embeddings of a split become ranks: the protocols that papers used, and `PROTOCOLS`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.audio_transforms import random_crop_start
from pretrain.embedding import CropStarts, PairEmbeddings, spread_crops
from pretrain.ranking import (
    RECALL_KS,
    Metrics,
    RankBounds,
    chance_metrics,
    rank_bounds_both_ways,
    ranking_metrics,
    recall_at,
)
from retrieval.index import NearestNeighbours
from shards.errors import UserError
from shards.reading import StoredSample

DIRECTIONS = ("image_to_sound", "sound_to_image")

KHDLR_BATCH_PAIRS = 16
ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class Ranking:
    """Ranks of one split, both ways.

    Attributes:
        embeddings: what was ranked, in the order of the ranks.
        bounds: of each direction, where every query's true match stands.
        image_scales: (n,) what the distances of each image are divided by for sound → image; None for nothing.
    """

    embeddings: PairEmbeddings
    bounds: dict[str, RankBounds]
    image_scales: NDArray[np.float64] | None = None


class Protocol(ABC):
    """Which pairs are ranked, what they are embedded from, and how ranks are counted."""

    name: str
    description: str
    recall_meaning: str
    """What recall at k counts; "{k}" stands for k."""
    default_crops: int | None
    """Sound crops averaged unless the user says otherwise; None where the protocol leaves no choice."""

    @abstractmethod
    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:
        """Says which crops of a sound are embedded."""

    def select(self, embeddings: PairEmbeddings) -> PairEmbeddings:
        """Picks and orders the pairs that make up the gallery; all, unless a protocol says otherwise."""
        return embeddings

    @abstractmethod
    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """Ranks the selected pairs both ways."""

    @abstractmethod
    def recall(self, bounds: RankBounds, k: int) -> float:
        """The share of queries that find their match among the first k, as the protocol counts it."""

    @abstractmethod
    def chance_recall(self, gallery_size: int, k: int) -> float:
        """The recall at k of a random order without ties."""

    def metrics(self, bounds: RankBounds) -> Metrics:
        """The figures of one direction, keys as in `pretrain.ranking.ranking_metrics`."""
        figures = ranking_metrics(bounds.nearer, bounds.tied)
        return figures | _recalls(len(bounds.nearer), lambda k: self.recall(bounds, k))

    def chance(self, gallery_size: int) -> Metrics:
        """The same figures for a random order of the gallery."""
        return chance_metrics(gallery_size) | _recalls(gallery_size, lambda k: self.chance_recall(gallery_size, k))

    @abstractmethod
    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Numbers of the first matches of some queries, (q, min(count, n)), nearest first."""


class Standard(Protocol):
    """Every pair of the split, evenly spaced sound crops averaged, Euclidean distance, ties shared fairly."""

    name = "standard"
    description = (
        "All pairs of the split. The image by its central three quarters, the sound by evenly spaced crops whose "
        "embeddings are averaged. Euclidean distance; items equally near share their places."
    )
    recall_meaning = "true match among the first {k}"
    default_crops = 10

    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:  # noqa: ARG002
        """Evenly spaced; the seed has no effect."""
        return spread_crops(num_frames, crops)

    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """By Euclidean distance."""
        bounds = rank_bounds_both_ways(embeddings.image, embeddings.sound)
        return Ranking(embeddings, dict(zip(DIRECTIONS, bounds, strict=True)))

    def recall(self, bounds: RankBounds, k: int) -> float:
        """The expectation of rank <= k over a random order of the tied."""
        return recall_at(bounds.nearer, bounds.tied, k)

    def chance_recall(self, gallery_size: int, k: int) -> float:
        """k of n."""
        return k / gallery_size

    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """By Euclidean distance."""
        sides = (ranking.embeddings.image, ranking.embeddings.sound)
        query_side, gallery_side = sides if direction == "image_to_sound" else sides[::-1]
        return NearestNeighbours(gallery_side).search(query_side[queries], count)[0]


class Khdlr(Protocol):
    """The metric that SoundingEarth's authors published (Heidler et al., arXiv 2108.00688, and their code).

    Pairs in key order, in batches of 16 of which the last incomplete one is dropped; one random crop of the sound;
    recall@k counts average ranks strictly below k; sound → image divides each image's distances by their mean.
    """

    name = "khdlr"
    description = (
        "As SoundingEarth's authors published it: pairs in key order, the last incomplete batch of 16 dropped, one "
        "random crop of each sound, recall@k counts ranks below k, and for sound → image the distances of an image "
        "are divided by their mean."
    )
    recall_meaning = "rank of the true match below {k}"
    default_crops = None

    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:  # noqa: ARG002
        """One crop at random, fixed by seed and key; `crops` has no effect."""

        def starts(sample: StoredSample) -> list[int]:
            digest = hashlib.blake2b(f"{seed}/{sample.key}".encode(), digest_size=8).digest()
            return [random_crop_start(sample.num_frames, num_frames, int.from_bytes(digest, "little"))]

        return starts

    def select(self, embeddings: PairEmbeddings) -> PairEmbeddings:
        """Sorts by key and drops the last incomplete batch of 16.

        Raises:
            UserError: fewer than 16 pairs.
        """
        n = len(embeddings.keys)
        if n < KHDLR_BATCH_PAIRS:
            raise UserError(
                f"protocol khdlr drops the last incomplete batch of {KHDLR_BATCH_PAIRS} pairs, and the split has only "
                f"{n}; use --protocol standard or a larger split"
            )
        order = sorted(range(n), key=lambda i: _key_order(embeddings.keys[i]))[: n - n % KHDLR_BATCH_PAIRS]
        return PairEmbeddings([embeddings.keys[i] for i in order], embeddings.image[order], embeddings.sound[order])

    def rank(self, embeddings: PairEmbeddings) -> Ranking:
        """Image → sound by Euclidean distance, sound → image by distance over the image's mean distance."""
        image_to_sound, _ = rank_bounds_both_ways(embeddings.image, embeddings.sound)
        means, true = [], []
        for start, block in _distance_blocks(embeddings):
            means.append(block.mean(axis=1))
            true.append(np.diagonal(block, offset=start))
        scales = np.concatenate(means)
        scales[scales == 0] = 1.0
        sound_to_image = _scaled_bounds(embeddings, scales, np.concatenate(true) / scales)
        return Ranking(embeddings, {"image_to_sound": image_to_sound, "sound_to_image": sound_to_image}, scales)

    def recall(self, bounds: RankBounds, k: int) -> float:
        """Average ranks strictly below k."""
        return float(np.mean(bounds.ranks < k))

    def chance_recall(self, gallery_size: int, k: int) -> float:
        """k − 1 of n."""
        return (k - 1) / gallery_size

    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """By the distance of that direction."""
        embeddings = ranking.embeddings
        if direction == "image_to_sound":
            return NearestNeighbours(embeddings.sound).search(embeddings.image[queries], count)[0]
        assert ranking.image_scales is not None
        chosen = PairEmbeddings([], embeddings.image, embeddings.sound[queries])
        distances = np.concatenate([block for _, block in _distance_blocks(chosen)])
        return np.argsort(distances / ranking.image_scales[:, None], axis=0, kind="stable")[:count].T


def _key_order(key: str) -> tuple[int, int, str]:
    return (0, int(key), key) if key.isdecimal() else (1, 0, key)


def _recalls(gallery_size: int, recall: Callable[[int], float]) -> Metrics:
    recalls: Metrics = {f"recall_at_{k}": recall(k) if k <= gallery_size else None for k in RECALL_KS}
    return recalls | {"recall_at_10_percent": recall(-(-gallery_size // 10))}


def _distance_blocks(embeddings: PairEmbeddings) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Distances of a block of images to all sounds, after the number of the block's first image."""
    images, sounds = torch.from_numpy(embeddings.image).double(), torch.from_numpy(embeddings.sound).double()
    for start in range(0, len(images), ROWS_PER_BLOCK):
        block = images[start : start + ROWS_PER_BLOCK]
        # By subtraction: equal embeddings then have equal distances, which a matrix product does not promise.
        yield start, torch.cdist(block, sounds, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def _scaled_bounds(
    embeddings: PairEmbeddings, image_scales: NDArray[np.float64], true: NDArray[np.float64]
) -> RankBounds:
    """Bounds of sound → image by distances over the images' scales; `true` are those of the true matches."""
    n = len(true)
    bounds = RankBounds(np.zeros(n, np.int64), np.zeros(n, np.int64))
    for start, block in _distance_blocks(embeddings):
        scaled = block / image_scales[start : start + len(block), None]
        bounds.nearer[:] += (scaled < true).sum(axis=0)
        bounds.tied[:] += (scaled == true).sum(axis=0)
    return bounds


PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (Standard(), Khdlr())}
