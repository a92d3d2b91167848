"""A plan: which methods, backbones, seeds and benchmarks are compared, as a small YAML file says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from pretrain.settings.files import load_settings
from pretrain.settings.presets import PRESETS, choose
from pretrain.settings.training import STRICT
from shards.errors import UserError

LAUNCH_FOLDER = Path(__file__).resolve().parents[1] / "accelerate"
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
TAKEN_BY_ROWS = {"run", "log.txt", "settings.yaml", "benchmarks.yaml", "failed.txt"}
"""What else lies in a row's folder, beside a folder for each benchmark."""

SET_ELSEWHERE = {
    "out": "--out",
    "shards": "the plan's shards",
    "seed": "the plan's seeds",
    "model.image_encoder": "the plan's backbones",
}
"""Settings of a run that the plan's methods may not set, and what does."""


@dataclass(frozen=True)
class Plan:
    """What is compared: every method with every backbone and every seed, each run on every benchmark."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str = ""
    """Of the experiment and of the tables."""
    shards: str | Path = Path("data/demo-shards")
    """The shard set that all train on, a folder or a URL; a relative path is one of the working directory."""
    preset: str = "demo"
    """What every run's settings start from, a name in PRESETS."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of every run, by dotted name."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Every method is run with each of them."""
    backbones: list[str] = field(default_factory=lambda: ["resnet18"])
    """Trunks of the image tower, names in ENCODERS."""
    launch: str = "one_process"
    """A file of launch/accelerate/ without its .yaml, or the path of another."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By label: what a method sets on top, by dotted name."""
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By label: a benchmark's settings, by dotted name; `benchmark` names it where the label does not."""

    @property
    def launch_file(self) -> Path:
        """The configuration file for `accelerate launch`.

        Raises:
            UserError: there is none of that name.
        """
        if "/" in self.launch or self.launch.endswith((".yaml", ".yml")):
            path = Path(self.launch)
            if not path.is_file():
                raise UserError(f"launch {self.launch} is no file; give one, or the name of one in launch/accelerate/")
            return path
        name = choose(self.launch, (path.stem for path in LAUNCH_FOLDER.glob("*.yaml")), "launch")
        return LAUNCH_FOLDER / f"{name}.yaml"


def load_plan(path: Path, *, shards: str | None = None, roots: Mapping[str, Path] | None = None) -> Plan:
    """Reads a plan and checks all of it that concerns the plan alone.

    Args:
        path: the YAML file.
        shards: in place of the plan's own.
        roots: the folders of benchmarks, by label, in place of the plan's own.

    Raises:
        UserError: no such file, not YAML, or a part of it that is missing, unknown, doubled or against its rule.
    """
    if not path.is_file():
        raise UserError(f"no plan at {path}: no such file; those that come with Earshot are in launch/plans/")
    plan = load_settings(Plan, path)
    if shards is not None:
        plan = replace(plan, shards=shards)
    for label, root in (roots or {}).items():
        choose(label, plan.benchmarks, "benchmark of --root")
        plan = replace(plan, benchmarks=plan.benchmarks | {label: plan.benchmarks[label] | {"root": str(root)}})
    try:
        _check(plan)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return plan


def _check(plan: Plan) -> None:
    if not plan.name:
        raise UserError("name must be given, of the experiment and its tables; add a line `name: …`")
    choose(plan.preset, PRESETS, "preset")
    _ = plan.launch_file
    for part, values in (("methods", plan.methods), ("seeds", plan.seeds), ("backbones", plan.backbones)):
        if not values:
            raise UserError(f"{part} must name at least one, got none")
    for part, listed in (("seeds", plan.seeds), ("backbones", plan.backbones)):
        twice = next((value for i, value in enumerate(listed) if value in listed[:i]), None)
        if twice is not None:
            raise UserError(f"{part} must differ from each other, got {twice} twice")
    _check_labels("methods", plan.methods)
    _check_labels("benchmarks", plan.benchmarks)
    for where, settings in (("settings", plan.settings), *((f"methods.{k}", v) for k, v in plan.methods.items())):
        for name in settings:
            if name in SET_ELSEWHERE:
                raise UserError(f"{where} may not set {name}, which {SET_ELSEWHERE[name]} says; take it out")


def _check_labels(part: str, labels: Iterable[str]) -> None:
    for label in labels:
        if not LABEL.fullmatch(label) or (part == "benchmarks" and label in TAKEN_BY_ROWS):
            raise UserError(
                f"{part}: the label {label!r} can't name a folder; take letters, digits, '.', '_' and '-', a letter or "
                f"digit first, and none of {', '.join(sorted(TAKEN_BY_ROWS))}"
            )
