"""What half precision costs: embeddings and rank figures of rounded weights beside those of the original ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.model import TwoTower
from pretrain.ranking import cross_modal_ranks
from pretrain.ranking.intervals import Figure, Interval, Units, bootstrap_intervals
from pretrain.training.embedding import embed_pairs_of, spread_crops
from pretrain.training.validation import validation_units
from pretrain.weights.same_embeddings import Probe
from shards.errors import UserError
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet

TOLERANCE = 0.01
"""Largest change of an embedding by rounding, as a fraction of its length."""

MOST_PAIRS = 512
"""Validation pairs that are ranked with both."""

BATCH = 32


@dataclass(frozen=True)
class RankWithInterval:
    """A median rank and its 95 % interval."""

    median: float
    interval: Interval

    @classmethod
    def of(cls, ranks: NDArray[np.float64], units: Units) -> RankWithInterval:
        """That of the ranks of n queries."""
        found = bootstrap_intervals({"median": Figure(ranks, "median")}, units)
        return cls(float(np.median(ranks)), found["median"])

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.median:g} ({low:g} – {high:g})"


@dataclass(frozen=True)
class HalfPrecision:
    """The comparison.

    Attributes:
        change: largest change of an embedding of the probes, as a fraction of its length.
        num_pairs: validation pairs ranked; 0 if they are not available.
        median_ranks: by direction, median rank with the original weights and with the rounded ones, each with its
            95 % interval.
    """

    change: float
    num_pairs: int = 0
    median_ranks: dict[str, tuple[RankWithInterval, RankWithInterval]] = field(default_factory=dict)

    def __str__(self) -> str:
        words = f"half precision changes embeddings by up to {self.change:.2%} of their length (limit {TOLERANCE:.0%})"
        if not self.num_pairs:
            return words
        ranks = ", ".join(
            f"{direction.replace('_to_', ' → ')} {full} and {half}"
            for direction, (full, half) in self.median_ranks.items()
        )
        what = f"median ranks of {self.num_pairs} validation pairs in float32 and in half precision"
        return f"{words}; {what}, with 95 % intervals: {ranks}"


@torch.inference_mode()
def compare_half(full: TwoTower, half: TwoTower, probes: Sequence[Probe], shard_set: ShardSet | None) -> HalfPrecision:
    """Compares rounded towers with the original ones, both in evaluation mode, on the CPU.

    Args:
        full: the original towers.
        half: the rounded ones.
        probes: inputs whose embeddings are compared.
        shard_set: ranks its first `MOST_PAIRS` validation pairs, by one central crop per sound; None: ranks nothing.

    Raises:
        UserError: an embedding changes by more than `TOLERANCE`.
    """
    change = 0.0
    for probe in probes:
        for ours, theirs in (
            (full.encode_image(probe.images), half.encode_image(probe.images)),
            (full.encode_sound(probe.sounds), half.encode_sound(probe.sounds)),
        ):
            change = max(change, float(((ours - theirs).norm(dim=1) / ours.norm(dim=1)).max()))
    if not change <= TOLERANCE:
        raise UserError(
            f"half precision changes embeddings by up to {change:.2%} of their length, more than {TOLERANCE:.0%}, so "
            "nothing was written; release without --half"
        )
    num_pairs = min(MOST_PAIRS, shard_set.num_samples(VALIDATION_SPLIT)) if shard_set is not None else 0
    if shard_set is None or not num_pairs or not full.config.sound_trained:
        return HalfPrecision(change)
    embeddings = [_validation_embeddings(model, shard_set, num_pairs) for model in (full, half)]
    units = validation_units(shard_set, num_pairs)
    ranks: dict[str, tuple[RankWithInterval, RankWithInterval]] = {}
    for direction, query, gallery in (("image_to_sound", 0, 1), ("sound_to_image", 1, 0)):
        original, rounded = (
            RankWithInterval.of(cross_modal_ranks(pair[query], pair[gallery]), units) for pair in embeddings
        )
        ranks[direction] = (original, rounded)
    return HalfPrecision(change, num_pairs, ranks)


def _validation_embeddings(
    model: TwoTower, shard_set: ShardSet, num_pairs: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    crops = spread_crops(model.config.num_frames, 1)
    parts = []
    for start in range(0, num_pairs, BATCH):
        numbers = range(start, min(start + BATCH, num_pairs))
        parts.append(embed_pairs_of(model, [shard_set.sample(VALIDATION_SPLIT, number) for number in numbers], crops))
    return np.concatenate([image for image, _ in parts]), np.concatenate([sound for _, sound in parts])
