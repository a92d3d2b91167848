"""The curves of a run, from the lines of `metrics.jsonl`: loss, ranks or other scores, and spread of embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.scores import Score
from shards.records import as_number
from shards.untrusted_text import as_line, without_controls

TRAIN = "train"
MEDIAN_RANK = "median_rank"
RANKED = {
    "image_to_sound": "image → sound",
    "sound_to_image": "sound → image",
    "view_to_view": "view → other view",
}
"""What is ranked in a validation: key, and words."""
SPREAD = "_relative_spread"
MOST_SCORES = 4


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        name: in words.
        steps: optimiser steps.
        values: finite, as many as steps.
    """

    name: str
    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class Panel:
    """Curves of one unit.

    Attributes:
        title: what they show.
        curves: of it, each with a value at least.
        chance: the chance level, None if there is none.
        is_rank: whether values are ranks, for a logarithmic axis on which lower is better.
    """

    title: str
    curves: list[Curve]
    chance: float | None = None
    is_rank: bool = False


def panels_of(lines: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """The panels that the lines of `metrics.jsonl` have values for, in order: loss, scores, spread."""
    training = [line for line in lines if line["split"] == TRAIN]
    evaluated = [line for line in lines if line["split"] != TRAIN]
    return [panel for panel in (_loss(training), *_scores(evaluated), _spread(training)) if panel.curves]


def steps_per_epoch(lines: Sequence[Mapping[str, Any]]) -> int | None:
    """Steps of an epoch; None before the second epoch begins, when the length of the first may be unknown.

    The last step of every epoch has a line, so the longest first epoch that the lines allow is the true one.
    """
    training = [line for line in lines if line["split"] == TRAIN]
    if not any(line["epoch"] for line in training):
        return None
    return max(math.ceil(line["step"] / (line["epoch"] + 1)) for line in training)


def _loss(training: Sequence[Mapping[str, Any]]) -> Panel:
    return Panel("training loss", _curves(training, {"loss": "loss"}))


def _scores(evaluated: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Median ranks where there are any; else up to four scores between 0 and 1, such as accuracy, of each split."""
    panels = []
    for split in dict.fromkeys(str(line["split"]) for line in evaluated):
        lines = [line for line in evaluated if line["split"] == split]
        words = as_line(without_controls(split))[:20]
        ranks = _curves(lines, {f"{part}/{MEDIAN_RANK}": name for part, name in RANKED.items()})
        if ranks:
            chance = Score(f"chance/{MEDIAN_RANK}", "").value_in(lines[-1])
            size = as_number(lines[-1].get("gallery_size"))
            of = f" of {size:,.0f}" if size else ""
            panels.append(Panel(f"median rank{of}, {words} split", ranks, chance, is_rank=True))
            continue
        names = {key: as_line(without_controls(key))[:30].replace("_", " ") for key in lines[-1] if key != "epoch"}
        shares = [curve for curve in _curves(lines, names) if all(0 <= value <= 1 for value in curve.values)]
        panels.append(Panel(f"scores, {words} split", shares[:MOST_SCORES]))
    return panels


def _spread(training: Sequence[Mapping[str, Any]]) -> Panel:
    names = dict.fromkeys(key for line in training for key in line if key.endswith(SPREAD))
    words = {key: as_line(without_controls(key.removesuffix(SPREAD)))[:20] for key in names}
    return Panel("spread of embeddings (0: collapsed)", _curves(training, words))


def _curves(lines: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[Curve]:
    """The curves of scores by key and name; lines without a finite value are left out, and curves without any."""
    curves = []
    for key, name in names.items():
        found = [(line["step"], value) for line in lines if (value := Score(key, name).value_in(line)) is not None]
        if found and key not in ("step", "split"):
            curves.append(Curve(name, [step for step, _ in found], [value for _, value in found]))
    return curves
