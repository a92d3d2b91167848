"""The rows of a plan: one pre-training run each, with the benchmarks of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from downstream.benchmarks import BENCHMARKS, defaults_of, kind_of
from downstream.kinds import refuse_settings_elsewhere
from downstream.settings import DownstreamSettings
from launch.comparison.outcomes import RETRIEVAL
from launch.comparison.plan import HEAD_ON, Plan
from pretrain.presets import PRESETS
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import Config
from pretrain.settings.rules import check_rules
from retrieval.options import EvaluateOptions
from shards.errors import UserError
from shards.registry import choose
from shards.streaming.locations import is_url

ROWS_FOLDER = "rows"
SET_BY_THE_ROW = ("weights", "out")
INHERITED = ("tracker", "threads")
"""Settings that a benchmark inherits from the row's run, unless the plan sets them for the benchmark."""


@dataclass(frozen=True)
class Job:
    """A benchmark of a row's weights.

    Attributes:
        label: label in the plan.
        benchmark: "retrieval", or a name in downstream's BENCHMARKS.
        folder: folder of its results.
        settings: its resolved settings.
    """

    label: str
    benchmark: str
    folder: Path
    settings: DownstreamSettings | EvaluateOptions


@dataclass(frozen=True)
class Row:
    """One pre-training run and its benchmarks.

    Attributes:
        number: number of the row, from 1.
        total: number of rows in the plan.
        method: label of the method in the plan.
        backbone: image encoder.
        seed: seed of the run.
        folder: folder of the row.
        config: resolved settings of the run.
        benchmarks: benchmarks in the plan's order.
    """

    number: int
    total: int
    method: str
    backbone: str
    seed: int
    folder: Path
    config: Config
    benchmarks: list[Job]

    @property
    def run_folder(self) -> Path:
        """Run folder of its pre-training."""
        return self.folder / "run"

    @property
    def name(self) -> str:
        """Name for messages, such as "row 7 of 20 (moco, resnet18, seed 0)"."""
        return _name(self.number, self.total, self.method, self.backbone, self.seed)


def rows_of(plan: Plan, out: Path) -> list[Row]:
    """All rows of a plan: methods × backbones × seeds, with seeds varying fastest.

    Raises:
        UserError: a setting is unknown or has the wrong type; starts with its row or benchmark.
    """
    for label, settings in plan.benchmarks.items():
        _check_names(label, settings)
    places = [
        (method, backbone, seed)
        for method in plan.methods
        for backbone in plan.backbones_of(method)
        for seed in plan.seeds
    ]
    rows = []
    for number, (method, backbone, seed) in enumerate(places, 1):
        folder = out / ROWS_FOLDER / method / backbone / f"seed-{seed}"
        own = {"model.image_encoder": backbone, "seed": seed}
        with saying(_name(number, len(places), method, backbone, seed)):
            config = with_settings(PRESETS[plan.preset_of(method)], plan.settings_of(method) | own)
        # Kept as given, because the demo's shard folder is recognised by its relative path.
        config = replace(config, shards=plan.shards, out=folder / "run")
        head_on = plan.head_of(method)
        jobs = [_job(label, settings, config, folder, head_on) for label, settings in plan.benchmarks.items()]
        rows.append(Row(number, len(places), method, backbone, seed, folder, config, jobs))
    return rows


def choose_row(rows: list[Row], number: int) -> Row:
    """The row with this number.

    Raises:
        UserError: there is no such row.
    """
    if not 1 <= number <= len(rows):
        raise UserError(f"row must be in 1 to {len(rows)}, the rows of the plan, got {number}")
    return rows[number - 1]


def check_settings(rows: Iterable[Row]) -> None:
    """Checks all that can be known of the rows' pre-training before data is opened.

    Raises:
        UserError: begins with the row and names the setting, its value and its rule.
    """
    for row in rows:
        with saying(row.name):
            check_rules(row.config)


@contextmanager
def saying(where: str) -> Iterator[None]:
    """Puts the row or benchmark that is concerned before a mistake's sentence."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _name(number: int, total: int, method: str, backbone: str, seed: int) -> str:
    return f"row {number} of {total} ({method}, {backbone}, seed {seed})"


def _check_names(label: str, settings: Mapping[str, Any]) -> None:
    benchmark = str(settings.get("benchmark", label))
    choose(benchmark, [*BENCHMARKS, RETRIEVAL], f"benchmark of benchmarks.{label}:")
    taken = (*SET_BY_THE_ROW, "shards") if benchmark == RETRIEVAL else (*SET_BY_THE_ROW, "seed")
    for name in settings:
        if name in taken:
            raise UserError(f"benchmarks.{label} may not set {name}, which is set by each row; remove it")
    if benchmark != RETRIEVAL and "root" not in settings:
        raise UserError(
            f"benchmarks.{label}: root must be given, the folder with the data of {benchmark}; add it to the plan, or "
            f"give --root {label}=DIR"
        )


def _job(label: str, settings: Mapping[str, Any], config: Config, folder: Path, head_on: str | None) -> Job:
    benchmark = str(settings.get("benchmark", label))
    own = {name: value for name, value in settings.items() if name not in ("benchmark", "protocol")}
    with saying(f"benchmarks.{label}"):
        if benchmark == RETRIEVAL:
            if is_url(config.shards):
                raise UserError(f"retrieval reads shards from a local folder, got {config.shards}; copy them to one")
            options = EvaluateOptions(config.out, Path(config.shards), folder / label)
            changes = {name: value for name, value in settings.items() if name != "benchmark"}
            return Job(label, benchmark, folder / label, with_settings(options, changes))
        default = defaults_of(benchmark, str(settings.get("protocol", "paper")))
        refuse_settings_elsewhere(kind_of(benchmark), benchmark, own)
        if hasattr(default, HEAD_ON) and default.protocol == "paper":
            own = _with_head(own, head_on, config)
        base = replace(default, weights=str(config.out), out=folder / label)
        inherited = {name: getattr(config, name) for name in INHERITED}
        return Job(label, benchmark, folder / label, with_settings(base, {**inherited, "seed": config.seed, **own}))


def _with_head(settings: dict[str, Any], of_method: str | None, config: Config) -> dict[str, Any]:
    """A benchmark's settings with what the head sits on: by the method, the benchmark, or the rule for 0 epochs."""
    if of_method is not None:
        return settings | {HEAD_ON: of_method}
    # Without training, the projection is random; the paper's heads are then on the pooled features.
    return settings if config.epochs else {HEAD_ON: "trunk", **settings}
