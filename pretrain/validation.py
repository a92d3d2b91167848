"""How well a run's towers rank the validation split."""

from __future__ import annotations

from typing import Any

import torch

from pretrain.embedding import embed_split, spread_crops
from pretrain.model import TwoTower
from pretrain.precision import autocast
from pretrain.ranking import both_directions, chance_metrics
from shards.reading import ShardSet

VALIDATION_SPLIT = "val"


def validate(towers: TwoTower, shard_set: ShardSet, *, precision: str, crops: int) -> dict[str, Any]:
    """Ranking metrics on the validation split, by towers in evaluation mode, the same on every process.

    Args:
        towers: what is validated.
        shard_set: where the pairs are.
        precision: "bf16" or "fp32".
        crops: sound crops a pair.

    Returns:
        `image_to_sound` and `sound_to_image` (see `pretrain.ranking.ranking_metrics`), `chance`, `gallery_size`,
        and `mean_rank`, the mean over both directions, by which the best model is chosen.

    Raises:
        FloatingPointError: an embedding is not finite.
    """
    with autocast(towers.image_mean.device, precision):
        pairs = embed_split(
            towers, shard_set, VALIDATION_SPLIT, crop_starts=spread_crops(towers.config.num_frames, crops)
        )
    if not (torch.from_numpy(pairs.image).isfinite().all() and torch.from_numpy(pairs.sound).isfinite().all()):
        raise FloatingPointError("embeddings of the validation split are not finite")
    scores: dict[str, Any] = dict(both_directions(pairs.image, pairs.sound))
    mean_ranks = [scores[direction]["mean_rank"] for direction in ("image_to_sound", "sound_to_image")]
    return {
        **scores,
        "chance": chance_metrics(len(pairs.keys)),
        "gallery_size": len(pairs.keys),
        "mean_rank": sum(mean_ranks) / 2,
    }


def as_paths(prefix: str, values: dict[str, Any]) -> dict[str, float]:
    """Nested metrics by path, such as `val/image_to_sound/recall_at_10`; None is left out."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= as_paths(f"{prefix}/{name}", value)
        elif value is not None:
            flat[f"{prefix}/{name}"] = value
    return flat
