"""The steps of a row, training and one for each benchmark: by which command, and whether they are done."""

from __future__ import annotations

import abc
import json
import os
import shutil
import sys
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from downstream.protocols import PROTOCOLS
from downstream.results import RESULTS_NAME
from downstream.settings import DownstreamSettings
from launch.comparison.rows import Job, Row
from pretrain.config import Config
from pretrain.loop import CONFIG_NAME, SUMMARY_NAME
from pretrain.settings_file import flatten, load_settings, save_settings
from retrieval.evaluation import METRICS_NAME, REPORT_NAME, EvaluateOptions
from shards.errors import UserError
from shards.writing import write_text_atomically

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS_NAME = "settings.yaml"
"""In a row's folder: what its run is started with."""
BENCHMARKS_NAME = "benchmarks.yaml"
"""In a row's folder: the settings of its benchmarks, by label and dotted name."""


class Step(abc.ABC):
    """A command of a row.

    Attributes:
        label: "training", or the benchmark's.
        saves: whether it saves on SIGUSR1 and can be gone on with.
    """

    label: str
    saves: bool

    @abc.abstractmethod
    def is_done(self) -> bool:
        """Whether its last file is there, whole."""

    @abc.abstractmethod
    def command(self, launch_file: Path) -> list[str]:
        """The words that start it, or go on with what a former start left; what can't be gone on with is removed."""


class Training(Step):
    """The pre-training of a row."""

    label, saves = "training", True

    def __init__(self, row: Row) -> None:
        self._row = row

    @override
    def is_done(self) -> bool:
        return _is_json(self._row.run_folder / SUMMARY_NAME)

    @override
    def command(self, launch_file: Path) -> list[str]:
        run = self._row.run_folder
        words = _launched(launch_file, "pretrain/run.py")
        if _can_go_on(Config, run):
            return [*words, "--resume", str(run)]
        return [*words, "--config", str(self._row.folder / SETTINGS_NAME), "--out", str(run)]


class Ranking(Step):
    """Retrieval on a split of the plan's shards."""

    saves = False

    def __init__(self, job: Job, options: EvaluateOptions) -> None:
        self.label = job.label
        self._options = options

    @override
    def is_done(self) -> bool:
        return _is_json(self._options.out / METRICS_NAME) and (self._options.out / REPORT_NAME).is_file()

    @override
    def command(self, launch_file: Path) -> list[str]:
        script = str(REPOSITORY / "retrieval" / "run.py")
        return [sys.executable, script, "evaluate", *words_of(self._options, _defaults(EvaluateOptions))]


class Downstream(Step):
    """A benchmark of `downstream/`."""

    saves = True

    def __init__(self, job: Job, settings: DownstreamSettings) -> None:
        self.label = job.label
        self._settings = settings

    @override
    def is_done(self) -> bool:
        return _is_json(self._settings.out / RESULTS_NAME)

    @override
    def command(self, launch_file: Path) -> list[str]:
        settings, words = self._settings, _launched(launch_file, "downstream/run.py")
        # After training, not every benchmark can be gone on with.
        if _can_go_on(DownstreamSettings, settings.out) and not (settings.out / SUMMARY_NAME).exists():
            return [*words, "--resume", str(settings.out)]
        shutil.rmtree(settings.out, ignore_errors=True)
        given = flatten(PROTOCOLS[settings.protocol]) | {"benchmark": settings.benchmark}
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
    path = row.folder / SETTINGS_NAME
    if not path.is_file():
        partial = path.with_suffix(".partial")
        save_settings(row.config, partial)
        os.replace(partial, path)
    record = {job.label: flatten(job.settings) for job in row.benchmarks}
    write_text_atomically(row.folder / BENCHMARKS_NAME, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


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


def _can_go_on(kind: type, folder: Path) -> bool:
    """Whether a run folder has settings to go on by; one that was killed before it had written them is removed."""
    if (folder / CONFIG_NAME).is_file():
        try:
            load_settings(kind, folder / CONFIG_NAME)
            return True
        except UserError:
            shutil.rmtree(folder)
    return False


def _is_json(path: Path) -> bool:
    """Whether a file is there and whole: one that was being written when its process was killed is not."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
