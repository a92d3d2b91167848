"""Ranks of true matches across modalities and their scores: pure maths, imported on use because it needs torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretrain.ranking.bounds import RankBounds
    from pretrain.ranking.ranks import (
        Metrics,
        both_directions,
        chance_metrics,
        cross_modal_rank_bounds,
        cross_modal_ranks,
        hits_at,
        rank_bounds_both_ways,
        ranking_metrics,
        recall_at,
        recalls,
        reciprocal_ranks,
    )

__all__ = [
    "Metrics",
    "RankBounds",
    "both_directions",
    "chance_metrics",
    "cross_modal_rank_bounds",
    "cross_modal_ranks",
    "hits_at",
    "rank_bounds_both_ways",
    "ranking_metrics",
    "recall_at",
    "recalls",
    "reciprocal_ranks",
]


def __getattr__(name: str) -> Any:
    # Command lines import `pretrain.ranking.scores`, and with it this file, before they need torch.
    if name in __all__:
        return getattr(import_module("pretrain.ranking.ranks"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
