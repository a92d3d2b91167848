"""How well a run's towers do on the validation split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.data.image_transforms import ImageView
from pretrain.model import TwoTower
from pretrain.precision import autocast
from pretrain.ranking import (
    RankBounds,
    chance_metrics,
    cross_modal_rank_bounds,
    rank_bounds_both_ways,
    ranking_metrics,
)
from pretrain.ranking.intervals import Units
from pretrain.ranking.rank_intervals import ranking_intervals
from pretrain.ranking.scores import DIRECTIONS, INTERVALS
from pretrain.training.embedding import PairEmbeddings, embed_split, embed_two_views, spread_crops
from shards.records import DamagedRecord
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet, StoredSample

RESAMPLES = 500
"""A quarter of `evaluate`'s, in a quarter of the time, which is spent at every validation: the draws move a bound by
about 3 % of the interval's width (standard error), there by 1.5."""


def validate_retrieval(towers: TwoTower, shard_set: ShardSet, *, precision: str, crops: int) -> dict[str, Any]:
    """Ranking metrics on the validation split, by towers in evaluation mode, the same on every process.

    Args:
        towers: what is validated.
        shard_set: where the pairs are.
        precision: "bf16" or "fp32".
        crops: sound crops a pair.

    Returns:
        `image_to_sound` and `sound_to_image` (see `pretrain.ranking.ranking_metrics`), `chance`, `gallery_size`,
        `intervals` (see `pretrain.ranking.rank_intervals`), and `mean_rank`, the mean over both directions, which
        selects the best model.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    with autocast(towers.image_mean.device, precision):
        pairs = embed_split(
            towers, shard_set, VALIDATION_SPLIT, crop_starts=spread_crops(towers.config.num_frames, crops)
        )
    return score_retrieval(pairs, validation_units(shard_set))


def validation_units(shard_set: ShardSet, most: int | None = None) -> Units:
    """What intervals of the validation split are drawn by: recordings where its pairs name them, else pairs.

    Args:
        shard_set: where the pairs are.
        most: of how many pairs, the first ones; None: of all.
    """
    size = shard_set.num_samples(VALIDATION_SPLIT)
    samples = (shard_set.sample(VALIDATION_SPLIT, number) for number in range(size if most is None else most))
    return Units.of_pairs([_metadata(sample) for sample in samples])


def _metadata(sample: StoredSample) -> dict[str, Any] | None:
    try:
        return sample.metadata()
    except DamagedRecord:
        return None


def score_retrieval(pairs: PairEmbeddings, units: Units) -> dict[str, Any]:
    """Ranking metrics of embedded pairs, as `validate_retrieval` returns them.

    Args:
        pairs: n pairs.
        units: what intervals are drawn by, of n queries.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    _check_finite(pairs.image, pairs.sound)
    scores = _scores(dict(zip(DIRECTIONS, rank_bounds_both_ways(pairs.image, pairs.sound), strict=True)), units)
    return {**scores, "mean_rank": sum(scores[direction]["mean_rank"] for direction in DIRECTIONS) / 2}


def _scores(bounds: dict[str, RankBounds], units: Units) -> dict[str, Any]:
    """The metrics of what was ranked, by its key, with chance and intervals."""
    (size,) = {len(ranked.nearer) for ranked in bounds.values()}
    return {
        **{part: ranking_metrics(ranked.nearer, ranked.tied) for part, ranked in bounds.items()},
        "chance": chance_metrics(size),
        "gallery_size": size,
        INTERVALS: ranking_intervals(bounds, units, resamples=RESAMPLES),
    }


def validate_views(towers: TwoTower, shard_set: ShardSet, view: ImageView, *, precision: str) -> dict[str, Any]:
    """How well an image of the validation split is found again by another view of it, among those of all others.

    Args:
        towers: what is validated, in evaluation mode.
        shard_set: where the images are.
        view: makes the views, which are equal in each call.
        precision: "bf16" or "fp32".

    Returns:
        `view_to_view` (see `pretrain.ranking.ranking_metrics`), `chance`, `gallery_size` and `intervals`.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    with autocast(towers.image_mean.device, precision):
        first, second = embed_two_views(towers, shard_set, VALIDATION_SPLIT, view)
    _check_finite(first, second)
    bounds = {"view_to_view": RankBounds(*cross_modal_rank_bounds(first, second))}
    return _scores(bounds, validation_units(shard_set))


def _check_finite(*embeddings: NDArray[np.float32]) -> None:
    if not all(np.isfinite(rows).all() for rows in embeddings):
        raise FloatingPointError("embeddings of the validation split are not finite")


def as_paths(prefix: str, values: dict[str, Any]) -> dict[str, float]:
    """Flattens nested metrics to paths, such as `val/image_to_sound/recall_at_10`; None values are omitted."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= as_paths(f"{prefix}/{name}", value)
        elif value is not None:
            flat[f"{prefix}/{name}"] = value
    return flat
