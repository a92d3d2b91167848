"""What `metrics.json` says of its figures, in words: no better than chance or than labels alone, and few queries."""

from __future__ import annotations

from typing import Any

from pretrain.ranking.intervals import FEWEST_QUERIES, Interval
from pretrain.ranking.scores import (
    DIRECTIONS,
    INTERVALS,
    MEAN_RANK,
    MEDIAN_RANK,
    MRR,
    NDCG_AT_10,
    RECALL_AT_10_PERCENT,
    RECALLS,
)
from pretrain.scores import Score

LABEL_ONLY = "label_only"
"""Key of the scores of a model that knows each pair's label alone."""
MOST_CHANCE = 0.5
SCORES = (*RECALLS.values(), RECALL_AT_10_PERCENT, MRR, MEDIAN_RANK, MEAN_RANK, NDCG_AT_10)


def interval_of(metrics: dict[str, Any], direction: str, score: Score) -> Interval | None:
    """The 95 % interval of a figure; None where `metrics.json` has none, as those of earlier versions."""
    low, high = ((metrics.get(INTERVALS) or {}).get(direction) or {}).get(score.key) or (None, None)
    return None if low is None or high is None else (float(low), float(high))


def certainty_lines(metrics: dict[str, Any]) -> list[str]:
    """Sentences on figures not better than chance or than labels alone, and on too few queries; none if all is well."""
    intervals = metrics.get(INTERVALS)
    if not intervals:
        return []
    lines = [line for direction in DIRECTIONS for line in _beside_chance(metrics, direction)]
    lines += [line for direction in DIRECTIONS for line in _beside_the_label(metrics, direction)]
    units, words = intervals["num_units"], "recordings" if intervals["unit"] == "recording" else "queries"
    if units < FEWEST_QUERIES:
        lines.append(f"only {units} {words}, fewer than {FEWEST_QUERIES}: the figures and their intervals say little")
    return lines


def _beside_chance(metrics: dict[str, Any], direction: str) -> list[str]:
    """Which figures of a direction are not better than chance, and which are worse."""
    compared, alike, worse = 0, [], []
    for score in SCORES:
        interval, chance = interval_of(metrics, direction, score), score.value_in(metrics["chance"])
        # A recall over most of the gallery, which chance reaches too, says nothing about the model.
        higher = score.better == "higher"
        if interval is None or chance is None or (higher and chance >= MOST_CHANCE):
            continue
        compared += 1
        low, high = interval
        if low <= chance <= high:
            alike.append(score.heading)
        elif (chance > high) == higher:
            worse.append(score.heading)
    words = []
    if alike:
        words.append("no figure is better" if len(alike) == compared else f"{_listed(alike)} not better")
    if worse:
        words.append("all figures are worse" if len(worse) == compared else f"{_listed(worse)} worse")
    return [f"{DIRECTIONS[direction]}: {phrase} than chance at the 95 % level" for phrase in words]


def _beside_the_label(metrics: dict[str, Any], direction: str) -> list[str]:
    """Whether the median rank of a model that knows the label of each pair alone is as good."""
    model = MEDIAN_RANK.value_in(metrics.get(direction) or {})
    label = MEDIAN_RANK.value_in(metrics.get(LABEL_ONLY) or {})
    if model is None or label is None or model < label:
        return []
    shown = MEDIAN_RANK.unit.show
    words = f"knowing the label alone would rank as well (median rank {shown(label)}, the model's {shown(model)})"
    return [f"{DIRECTIONS[direction]}: {words}"]


def _listed(names: list[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"
