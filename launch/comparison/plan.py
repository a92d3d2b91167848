"""Plans: YAML files that list the methods, backbones, seeds and benchmarks to compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pretrain.presets import PRESETS
from pretrain.settings.files import load_settings
from shards.errors import UserError
from shards.records import shown
from shards.registry import choose

OWN_PLANS = {file.stem: file for file in sorted((Path(__file__).resolve().parents[1] / "plans").glob("*.yaml"))}
"""Earshot's own plans by name."""
LAUNCH_FOLDER = Path(__file__).resolve().parents[1] / "accelerate"
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
TAKEN_BY_ROWS = {"run", "log.txt", "settings.yaml", "benchmarks.yaml", "failed.txt"}
"""Names in a row's folder that can't be labels of benchmarks."""

SET_ELSEWHERE = {
    "out": "--out",
    "shards": "the plan's shards",
    "seed": "the plan's seeds",
    "model.image_encoder": "the plan's backbones",
}
"""Settings that a plan's methods may not set → where they are set instead."""


PRESET, BACKBONES, HEAD_ON = "preset", "backbones", "head_on"
OF_METHODS = (PRESET, BACKBONES, HEAD_ON)
"""Of a method, not of its pre-training: preset and backbones in place of the plan's; and what the head of the paper's
scene benchmarks sits on, trunk (the pooled features) or embedding, in place of the benchmarks' setting. Without it, a
method of 0 epochs has it on the pooled features, for its projection is random."""


@dataclass(frozen=True)
class Plan:
    """A comparison: every method with every backbone and seed, each evaluated on every benchmark."""

    name: str = ""
    """Name of the experiment, title of the tables."""
    shards: str | Path = Path("data/demo-shards")
    """The shard set for training, a folder or a URL; a relative path is relative to the working directory."""
    preset: str = "demo"
    """Preset of every run whose method names no other, a name in PRESETS."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of every run, by dotted name."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds with which every method is run."""
    backbones: list[str] = field(default_factory=lambda: ["resnet18"])
    """Image encoders, names in ENCODERS."""
    launch: str = "one_process"
    """A file in launch/accelerate/ without .yaml, or the path of another file."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By label: further settings of the method, by dotted name, and those in OF_METHODS."""
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By label: settings of the benchmark, by dotted name; `benchmark` is its name if that differs from the label."""

    def settings_of(self, method: str) -> dict[str, Any]:
        """Settings of a method's pre-training, by dotted name."""
        own = {name: value for name, value in self.methods[method].items() if name not in OF_METHODS}
        return self.settings | own

    def preset_of(self, method: str) -> str:
        """Name of the preset of a method's pre-training."""
        preset: str = self.methods[method].get(PRESET, self.preset)
        return preset

    def backbones_of(self, method: str) -> list[str]:
        """Image encoders of a method."""
        backbones: list[str] = self.methods[method].get(BACKBONES, self.backbones)
        return backbones

    def head_of(self, method: str) -> str | None:
        """What the head of the method's scene benchmarks sits on; None where the method does not say."""
        return self.methods[method].get(HEAD_ON)

    @property
    def launch_file(self) -> Path:
        """The configuration file for `accelerate launch`.

        Raises:
            UserError: the file does not exist.
        """
        if "/" in self.launch or self.launch.endswith((".yaml", ".yml")):
            path = Path(self.launch)
            if not path.is_file():
                raise UserError(f"launch {self.launch}: no such file; give a file, or a name in launch/accelerate/")
            return path
        name = choose(self.launch, (path.stem for path in LAUNCH_FOLDER.glob("*.yaml")), "launch")
        return LAUNCH_FOLDER / f"{name}.yaml"


def plan_file(path: Path) -> Path:
    """The file of a plan, which may be named as one of Earshot's own, such as "demo".

    Raises:
        UserError: there is none.
    """
    if not path.is_file() and str(path) not in OWN_PLANS:
        raise UserError(
            f"no plan at {path}: no such file; give a file, or one of Earshot's plans: {', '.join(OWN_PLANS)}"
        )
    return path if path.is_file() else OWN_PLANS[str(path)]


def load_plan(path: Path, *, shards: str | None = None, roots: Mapping[str, Path] | None = None) -> Plan:
    """Reads a plan and checks it, without looking at data or runs.

    Args:
        path: the YAML file.
        shards: shard set to use instead of the plan's.
        roots: benchmark folders, by label, to use instead of the plan's.

    Raises:
        UserError: the file is missing or not YAML, or an entry is missing, unknown, duplicate or invalid.
    """
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
        raise UserError("name must be given, as the title of the experiment and its tables; add a line `name: …`")
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
    for label, method in plan.methods.items():
        _check_of_method(f"methods.{label}", method)
    _check_labels("benchmarks", plan.benchmarks)
    for where, settings in (("settings", plan.settings), *((f"methods.{k}", v) for k, v in plan.methods.items())):
        for name in settings:
            if name in SET_ELSEWHERE:
                raise UserError(f"{where} may not set {name}, which is set by {SET_ELSEWHERE[name]}; remove it")


def _check_of_method(where: str, method: Mapping[str, Any]) -> None:
    choose(str(method.get(PRESET, "demo")), PRESETS, f"{where}.{PRESET}")
    backbones, head = method.get(BACKBONES, [""]), method.get(HEAD_ON, "trunk")
    is_list = isinstance(backbones, list) and bool(backbones) and all(isinstance(name, str) for name in backbones)
    if not is_list or len(set(backbones)) < len(backbones):
        raise UserError(f"{where}.{BACKBONES} must be a list of different image encoders, got {shown(backbones)}")
    if head not in ("trunk", "embedding"):
        raise UserError(f"{where}.{HEAD_ON} must be trunk or embedding, got {shown(head)}")


def _check_labels(part: str, labels: Iterable[str]) -> None:
    for label in labels:
        if not LABEL.fullmatch(label) or (part == "benchmarks" and label in TAKEN_BY_ROWS):
            raise UserError(
                f"{part}: the label {label!r} can't name a folder; use letters, digits, '.', '_' and '-', starting "
                f"with a letter or digit, and none of {', '.join(sorted(TAKEN_BY_ROWS))}"
            )
