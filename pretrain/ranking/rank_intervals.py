"""95 % intervals of the metrics of both directions, by bootstrap over their ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretrain.ranking.bounds import RankBounds
from pretrain.ranking.intervals import LEVEL, RESAMPLES, Figure, Units, bootstrap_intervals
from pretrain.ranking.ranks import hits_at, recalls, reciprocal_ranks
from pretrain.ranking.scores import MEAN_RANK, MEDIAN_RANK, MRR


def ranking_intervals(bounds: Mapping[str, RankBounds], units: Units, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Intervals of the metrics of each direction.

    Args:
        bounds: by direction, n queries of n items.
        units: what is drawn, of n queries.
        resamples: how often.

    Returns:
        `level`, `unit` and `num_units`, and of each direction the lower and the upper bound by the keys of
        `ranking_metrics`; none where k exceeds the gallery.
    """
    found: dict[str, Any] = {"level": LEVEL, "unit": units.name, "num_units": units.count}
    for direction, ranked in bounds.items():
        intervals = bootstrap_intervals(figures_of(ranked), units, resamples=resamples)
        found[direction] = {key: list(interval) for key, interval in intervals.items()}
    return found


def figures_of(bounds: RankBounds) -> dict[str, Figure]:
    """What each query adds to the metrics of `ranking_metrics`, by key."""
    hits = recalls(len(bounds.nearer), lambda k: hits_at(bounds.nearer, bounds.tied, k))
    return {
        **{key: Figure(values) for key, values in hits.items() if values is not None},
        MEDIAN_RANK.key: Figure(bounds.ranks, "median"),
        MEAN_RANK.key: Figure(bounds.ranks, "mean"),
        MRR.key: Figure(reciprocal_ranks(bounds.nearer, bounds.tied)),
    }
