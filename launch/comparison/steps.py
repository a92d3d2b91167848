"""The steps of a row, training and one per benchmark: their commands, and whether they are done."""

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
from pretrain.training.run_folder import CHECKPOINTS_FOLDER, CONFIG_NAME, SUMMARY_NAME, list_checkpoints
from retrieval.metrics_file import METRICS_NAME, REPORT_NAME
from retrieval.options import EvaluateOptions
from shards.atomic_files import write_text_atomically
from shards.errors import UserError
from shards.records import holds_json, record_as
from shards.yaml_text import read_yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS_NAME = "settings.yaml"
"""File in a row's folder with the settings of its run, as of its last start."""
BENCHMARKS_NAME = "benchmarks.yaml"
"""File in a row's folder with the settings of all its benchmarks, past and present, by label and dotted name."""

Settings = TypeVar("Settings")


class Step(abc.ABC):
    """A command of a row.

    Attributes:
        label: "training", or the label of the benchmark.
        saves: whether it saves on SIGUSR1 and can be resumed.
    """

    label: str
    saves: bool

    @abc.abstractmethod
    def is_done(self) -> bool:
        """Whether its last file exists and is complete."""

    @abc.abstractmethod
    def command(self, launch_file: Path) -> list[str]:
        """The command line that starts or resumes it; removes the files of an attempt that can't be resumed.

        Raises:
            UserError: there is a checkpoint to resume from, but its settings are unknown.
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
                f"{out} holds checkpoints, but no readable {CONFIG_NAME} with their settings; restore it, or remove "
                f"{out} to rerun the benchmark"
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
    """The steps of a row, in order."""
    steps: list[Step] = [Training(row)]
    for job in row.benchmarks:
        if isinstance(job.settings, EvaluateOptions):
            steps.append(Ranking(job, job.settings))
        else:
            steps.append(Downstream(job, job.settings))
    return steps


def write_row_settings(row: Row) -> None:
    """Stores the settings of a row for its commands, and so that changes in the plan are detected."""
    row.folder.mkdir(parents=True, exist_ok=True)
    save_settings(row.config, row.folder / SETTINGS_NAME)
    # Benchmarks that were removed from the plan are kept, because they may be added again.
    record = settings_of_benchmarks(row) | {job.label: flatten(job.settings) for job in row.benchmarks}
    write_text_atomically(row.folder / BENCHMARKS_NAME, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def settings_of_benchmarks(row: Row) -> dict[str, dict[str, Any]]:
    """Settings of a row's benchmarks, as of their last start, by label and dotted name."""
    path = row.folder / BENCHMARKS_NAME
    return record_as(dict[str, dict[str, Any]], read_yaml(path), str(path), "remove it") if path.is_file() else {}


def words_of(settings: Any, defaults: dict[str, Any]) -> list[str]:
    """Converts settings to command-line words: `--name value`, and `--name` or `--no-name` for booleans.

    Args:
        settings: a dataclass of values and dataclasses.
        defaults: defaults by dotted name; settings equal to them are omitted.
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
    """The defaults of a settings class without groups."""
    assert is_dataclass(kind)
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def _saved(load: Callable[[Path], Settings], folder: Path) -> Settings | None:
    """The settings with which a run folder can be resumed; None if they can't be read."""
    try:
        return load(folder / CONFIG_NAME)
    except UserError:
        return None


def _changes(saved: Any, settings: Any, changeable: frozenset[str]) -> list[str]:
    """Command-line words for the changeable settings that differ from the saved ones."""
    before = flatten(saved)
    return words_of(settings, flatten(settings) | {name: before[name] for name in sorted(before.keys() & changeable)})
