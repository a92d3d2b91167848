"""Settings that a plan has otherwise than its preset: one line, so that no row is taken for the preset itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launch.comparison.plan import Plan
from launch.comparison.rows import Row
from pretrain.presets import PRESETS
from pretrain.settings.files import flatten

ENCODER = "model.image_encoder"


def changes_of_presets(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """A line for each preset of a plan that sets something otherwise; none for those that agree with it.

    It lists the image encoder, and settings for all methods that the preset sets too. What the preset leaves at its
    default is not listed, nor what a method sets, which is what the comparison is about.

    Args:
        plan: the plan.
        rows: its rows.
    """
    lines = []
    for preset in dict.fromkeys(plan.preset_of(row.method) for row in rows):
        of_preset = [row for row in rows if plan.preset_of(row.method) == preset]
        texts = dict.fromkeys(text for row in of_preset for text in _changes(plan, preset, row))
        if texts:
            lines.append(f"the plan changes settings of preset {preset}: {'; '.join(texts)}")
    return lines


def _changes(plan: Plan, preset: str, row: Row) -> list[str]:
    config = PRESETS[preset]
    default, own, planned = flatten(type(config)()), flatten(config), flatten(row.config)
    shared = [name for name in plan.settings if name not in plan.methods[row.method] and name in own]
    names = [ENCODER, *(name for name in shared if own[name] != default.get(name))]
    return [
        f"{name} {_shown(planned[name])} (preset: {_shown(own[name])})"
        for name in names
        if name in planned and planned[name] != own[name]
    ]


def _shown(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)
