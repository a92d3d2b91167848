"""The protocol `khdlr`: the metric that SoundingEarth's authors published (Heidler et al., arXiv 2108.00688)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pretrain.data.audio_transforms import random_crop_start
from pretrain.ranking import RankBounds, rank_bounds_both_ways
from pretrain.training.embedding import CropStarts, PairEmbeddings
from retrieval.index import NearestNeighbours
from retrieval.protocols.corpus_rows import CorpusRow
from retrieval.protocols.ordering import Ordering, euclidean_distances
from retrieval.protocols.protocol import Protocol, Ranking
from retrieval.protocols.published import Published, PublishedScores
from shards.building.splitting import split_by_key
from shards.errors import UserError
from shards.streaming.reading import StoredSample

KHDLR_BATCH_PAIRS = 16
ROWS_PER_BLOCK = 256


class Khdlr(Protocol):
    """The metric that SoundingEarth's authors published (Heidler et al., arXiv 2108.00688, and their code).

    Pairs are sorted by key, and the last incomplete batch of 16 is dropped. Each sound is embedded from one random
    crop. Recall@k counts average ranks strictly below k. For sound → image, the distances of each image are divided by
    their mean.
    """

    name = "khdlr"
    description = (
        "As published by SoundingEarth's authors: pairs in key order without the last incomplete batch of 16, one "
        "random crop per sound; recall@k counts ranks below k; for sound → image, the distances of each image are "
        "divided by their mean."
    )
    recall_meaning = "rank of the true match below {k}"
    default_crops = None
    published = Published(
        "SoundingEarth (Heidler et al., 2021), Table VII",
        figures=tuple(
            PublishedScores(model, "image_to_sound", {"recall_at_100": recall, "median_rank": rank})
            for model, recall, rank in (
                ("ResNet-18, batch triplet", 0.1901, 744.0),
                ("ResNet-50, batch triplet", 0.1528, 836.0),
                ("ResNet-18, contrastive", 0.2912, 565.0),
                ("ResNet-50, contrastive", 0.2835, 580.0),
            )
        ),
    )

    def split(self, rows: Sequence[CorpusRow]) -> list[str | None]:
        """By the last digit of the key: 7 is validation, 2 and 5 are test."""
        try:
            return [None if row.is_left_out else split_by_key(row.key) for row in rows]
        except ValueError as error:
            raise UserError(f"protocol khdlr splits by keys that are numbers: {error}; use another protocol") from error

    def crop_starts(self, num_frames: int, crops: int, seed: int) -> CropStarts:  # noqa: ARG002
        """One random crop, determined by seed and key; `crops` has no effect."""

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
        """Image → sound by Euclidean distance, sound → image by distance divided by the image's mean distance."""
        image_to_sound, _ = rank_bounds_both_ways(embeddings.image, embeddings.sound)
        means, true = [], []
        for start, block in _distance_blocks(embeddings):
            means.append(block.mean(axis=1))
            true.append(np.diagonal(block, offset=start))
        scales = np.concatenate(means)
        scales[scales == 0] = 1.0
        sound_to_image = _scaled_bounds(embeddings, scales, np.concatenate(true) / scales)
        return Ranking(embeddings, {"image_to_sound": image_to_sound, "sound_to_image": sound_to_image}, scales)

    def hits(self, bounds: RankBounds, k: float) -> NDArray[np.float64]:
        """1 where the average rank is strictly below k."""
        return (bounds.ranks < k).astype(np.float64)

    def chance_recall(self, gallery_size: int, k: float) -> float:
        """(k − 1) / n."""
        return (k - 1) / gallery_size

    def ordering(self, ranking: Ranking, direction: str) -> Ordering:
        """Euclidean distances, for sound → image divided by the image's mean distance."""
        ordering = super().ordering(ranking, direction)
        if direction == "image_to_sound":
            return ordering
        return replace(ordering, scales=ranking.image_scales)

    def nearest_km(self, distances: NDArray[np.float64], km: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """As published; of tied items at the end of the top k, the first by key count."""
        kth = np.partition(distances, k - 1, axis=1)[:, k - 1, None]
        nearer, tied = distances < kth, distances == kth
        num_taken = k - nearer.sum(axis=1, keepdims=True)
        is_top = nearer | (tied & (tied.cumsum(axis=1) <= num_taken))
        return np.asarray(np.where(is_top, km, np.inf).min(axis=1))

    def nearest(self, ranking: Ranking, direction: str, queries: list[int], count: int) -> NDArray[np.int64]:
        """Nearest by the distance of that direction."""
        embeddings = ranking.embeddings
        if direction == "image_to_sound":
            return NearestNeighbours(embeddings.sound).search(embeddings.image[queries], count)[0]
        assert ranking.image_scales is not None
        chosen = PairEmbeddings([], embeddings.image, embeddings.sound[queries])
        distances = np.concatenate([block for _, block in _distance_blocks(chosen)])
        return np.argsort(distances / ranking.image_scales[:, None], axis=0, kind="stable")[:count].T


def _key_order(key: str) -> tuple[int, int, str]:
    return (0, int(key), key) if key.isdecimal() else (1, 0, key)


def _distance_blocks(embeddings: PairEmbeddings) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yields the index of a block's first image, and the distances of the block's images to all sounds."""
    for start in range(0, len(embeddings.image), ROWS_PER_BLOCK):
        yield start, euclidean_distances(embeddings.image[start : start + ROWS_PER_BLOCK], embeddings.sound)


def _scaled_bounds(
    embeddings: PairEmbeddings, image_scales: NDArray[np.float64], true: NDArray[np.float64]
) -> RankBounds:
    """Rank bounds of sound → image by distances divided by `image_scales`; `true` has those of the true matches."""
    n = len(true)
    bounds = RankBounds(np.zeros(n, np.int64), np.zeros(n, np.int64))
    for start, block in _distance_blocks(embeddings):
        scaled = block / image_scales[start : start + len(block), None]
        bounds.nearer[:] += (scaled < true).sum(axis=0)
        bounds.tied[:] += (scaled == true).sum(axis=0)
    return bounds
