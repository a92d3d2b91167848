"""The steps of a row, training and one for each benchmark: by which command, and whether they are done."""

from __future__ import annotations

import abc
import shutil
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from typing_extensions import override

from downstream import settings as downstream_settings
from downstream.benchmarks import defaults_of, kind_of, load_run_settings
from downstream.results import RESULTS_NAME
from downstream.settings import DownstreamSettings
from launch.comparison.rows import Job, Row
from pretrain.settings.files import flatten, load_settings, save_settings
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, Config
from pretrain.training.checkpoints import CHECKPOINTS_FOLDER, list_checkpoints
from pretrain.training.loop import CONFIG_NAME, SUMMARY_NAME
from retrieval.metrics_file import METRICS_NAME, REPORT_NAME
from retrieval.options import EvaluateOptions
from shards.atomic_files import holds_json, write_text_atomically
from shards.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS_NAME = "settings.yaml"
"""In a row's folder: what its run was last started with."""
BENCHMARKS_NAME = "benchmarks.yaml"
"""In a row's folder: the settings of all benchmarks that it ever had, by label and dotted name."""

Settings = TypeVar("Settings")


class Step(abc.ABC):
    """A command of a row.

    Attributes:
        label: "training", or the benchmark's.
        saves: whether it saves on SIGUSR1 and can be resumed.
    """

    label: str
    saves: bool

    @abc.abstractmethod
    def is_done(self) -> bool:
        """Whether its last file is there, whole."""

    @abc.abstractmethod
    def command(self, launch_file: Path) -> list[str]:
        """The words that start it, or go on with what a former start left; a start that came to nothing is removed.

        Raises:
            UserError: there is something to go on with, but nothing says under which settings.
        """


class Training(Step):
    """The pre-training of a row."""

    label, saves = "training", True

    def __init__(self, row: Row) -> None:
        self._row = row

    @override
    def is_done(self) -> bool:
        return holds_json(self._row.run_folder / SUMMARY_NAME)

    @override
    def command(self, launch_file: Path) -> list[str]:
        run, config = self._row.run_folder, self._row.config
        words, saved = _launched(launch_file, "pretrain/run.py"), _saved(partial(load_settings, Config), run)
        if saved is None and list_checkpoints(run):
            save_settings(config, run / CONFIG_NAME)
            saved = config
        if saved is not None:
            return [*words, "--resume", str(run), *_changes(saved, config, CHANGEABLE_ON_RESUME)]
        shutil.rmtree(run, ignore_errors=True)
        return [*words, "--config", str(self._row.folder / SETTINGS_NAME), "--out", str(run)]


class Ranking(Step):
    """Retrieval on a split of the plan's shards."""

    saves = False

    def __init__(self, job: Job, options: EvaluateOptions) -> None:
        self.label = job.label
        self._options = options

    @override
    def is_done(self) -> bool:
        return holds_json(self._options.out / METRICS_NAME) and (self._options.out / REPORT_NAME).is_file()

    @override
    def command(self, launch_file: Path) -> list[str]:
        script = str(REPOSITORY / "retrieval" / "run.py")
        return [sys.executable, script, "evaluate", *words_of(self._options, _defaults(EvaluateOptions))]


class Downstream(Step):
    """A benchmark of `downstream/`."""

    def __init__(self, job: Job, settings: DownstreamSettings) -> None:
        self.label = job.label
        self.saves = kind_of(settings.benchmark).protocol(settings.protocol, settings.benchmark).is_resumable
        self._settings = settings

    @override
    def is_done(self) -> bool:
        return holds_json(self._settings.out / RESULTS_NAME)

    @override
    def command(self, launch_file: Path) -> list[str]:
        settings, words = self._settings, _launched(launch_file, "downstream/run.py")
        out, saved = settings.out, _saved(load_run_settings, settings.out)
        if saved is None and any(list_checkpoints(path.parent) for path in out.rglob(CHECKPOINTS_FOLDER)):
            raise UserError(
                f"{out} holds checkpoints, but no {CONFIG_NAME} that can be read and says how they were made; restore "
                f"it, or remove {out} to run the benchmark anew"
            )
        if saved is not None:
            # Data and weights may have been moved.
            save_settings(replace(saved, root=settings.root, weights=settings.weights), out / CONFIG_NAME)
            return [*words, "--resume", str(out), *_changes(saved, settings, downstream_settings.CHANGEABLE_ON_RESUME)]
        shutil.rmtree(out, ignore_errors=True)
        given = flatten(defaults_of(settings.benchmark, settings.protocol))
        return [
            *(*words, settings.benchmark, "--protocol", settings.protocol),
            *words_of(settings, {name: value for name, value in given.items() if name != "root"}),
        ]


def steps_of(row: Row) -> list[Step]:
    """The steps of a row, in their order."""
    steps: list[Step] = [Training(row)]
    for job in row.benchmarks:
        if isinstance(job.settings, EvaluateOptions):
            steps.append(Ranking(job, job.settings))
        else:
            steps.append(Downstream(job, job.settings))
    return steps


def write_row_settings(row: Row) -> None:
    """Keeps what a row is run with, for its commands and so that changes in the plan are noticed."""
    row.folder.mkdir(parents=True, exist_ok=True)
    save_settings(row.config, row.folder / SETTINGS_NAME)
    # One that was taken out of the plan may come back.
    record = settings_of_benchmarks(row) | {job.label: flatten(job.settings) for job in row.benchmarks}
    write_text_atomically(row.folder / BENCHMARKS_NAME, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def settings_of_benchmarks(row: Row) -> dict[str, dict[str, Any]]:
    """What the benchmarks of a row were last run with: by label and dotted name."""
    path = row.folder / BENCHMARKS_NAME
    record: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return record


def words_of(settings: Any, defaults: dict[str, Any]) -> list[str]:
    """Settings as words of a command line that starts from `defaults`: `--name value`, and flags for yes and no.

    Args:
        settings: a dataclass of values and of dataclasses.
        defaults: by dotted name; those that are the same are left out.
    """
    words = []
    for name, value in flatten(settings).items():
        if name in defaults and defaults[name] == value:
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            group, _, last = option.rpartition(".")
            words.append(f"--{group}{'.' if group else ''}{'' if value else 'no-'}{last}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _launched(launch_file: Path, script: str) -> list[str]:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file", str(launch_file)]
    return [*launcher, str(REPOSITORY / script)]


def _defaults(kind: type) -> dict[str, Any]:
    """Of the settings that have one; `kind` has no groups."""
    assert is_dataclass(kind)
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def _saved(load: Callable[[Path], Settings], folder: Path) -> Settings | None:
    """The settings by which a run folder can be resumed; None where none can be read."""
    try:
        return load(folder / CONFIG_NAME)
    except UserError:
        return None


def _changes(saved: Any, settings: Any, changeable: frozenset[str]) -> list[str]:
    """The words for what has changed since settings were saved, of what may change."""
    before = flatten(saved)
    return words_of(settings, flatten(settings) | {name: before[name] for name in sorted(before.keys() & changeable)})
