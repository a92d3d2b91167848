"""How well a run's towers do on the validation split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.data.image_transforms import ImageView
from pretrain.model import TwoTower
from pretrain.precision import autocast
from pretrain.ranking import both_directions, chance_metrics, cross_modal_rank_bounds, ranking_metrics
from pretrain.training.embedding import PairEmbeddings, embed_split, embed_two_views, spread_crops
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet


def validate_retrieval(towers: TwoTower, shard_set: ShardSet, *, precision: str, crops: int) -> dict[str, Any]:
    """Ranking metrics on the validation split, by towers in evaluation mode, the same on every process.

    Args:
        towers: what is validated.
        shard_set: where the pairs are.
        precision: "bf16" or "fp32".
        crops: sound crops a pair.

    Returns:
        `image_to_sound` and `sound_to_image` (see `pretrain.ranking.ranking_metrics`), `chance`, `gallery_size`,
        and `mean_rank`, the mean over both directions, which selects the best model.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    with autocast(towers.image_mean.device, precision):
        pairs = embed_split(
            towers, shard_set, VALIDATION_SPLIT, crop_starts=spread_crops(towers.config.num_frames, crops)
        )
    return score_retrieval(pairs)


def score_retrieval(pairs: PairEmbeddings) -> dict[str, Any]:
    """Ranking metrics of embedded pairs, as `validate_retrieval` returns them.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    _check_finite(pairs.image, pairs.sound)
    scores: dict[str, Any] = dict(both_directions(pairs.image, pairs.sound))
    mean_ranks = [scores[direction]["mean_rank"] for direction in ("image_to_sound", "sound_to_image")]
    return {
        **scores,
        "chance": chance_metrics(len(pairs.image)),
        "gallery_size": len(pairs.image),
        "mean_rank": sum(mean_ranks) / 2,
    }


def validate_views(towers: TwoTower, shard_set: ShardSet, view: ImageView, *, precision: str) -> dict[str, Any]:
    """How well an image of the validation split is found again by another view of it, among those of all others.

    Args:
        towers: what is validated, in evaluation mode.
        shard_set: where the images are.
        view: makes the views, which are equal in each call.
        precision: "bf16" or "fp32".

    Returns:
        `view_to_view` (see `pretrain.ranking.ranking_metrics`), `chance` and `gallery_size`.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    with autocast(towers.image_mean.device, precision):
        first, second = embed_two_views(towers, shard_set, VALIDATION_SPLIT, view)
    _check_finite(first, second)
    return {
        "view_to_view": ranking_metrics(*cross_modal_rank_bounds(first, second)),
        "chance": chance_metrics(len(second)),
        "gallery_size": len(second),
    }


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
