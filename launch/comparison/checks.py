"""All that can be known to be wrong before the first row starts: settings, data, and rows run under other settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from downstream import settings as downstream_settings
from downstream.benchmarks import BENCHMARKS, SCENE_BENCHMARKS
from downstream.benchmarks.transfer import SoundEventsBenchmark, TransferBenchmark
from downstream.settings import check_settings
from launch.comparison.plan import Plan
from launch.comparison.rows import Job, Row
from launch.comparison.steps import BENCHMARKS_NAME, SETTINGS_NAME
from pretrain import config as pretrain_config
from pretrain.batches import TRAIN_SPLIT, BatchLayout, open_training_shards
from pretrain.command_line import check_choices_and_rules
from pretrain.config import Config, DataSettings
from pretrain.settings_file import flatten, load_settings, require
from pretrain.validation import VALIDATION_SPLIT
from retrieval.embedding import open_split
from retrieval.evaluation import EvaluateOptions
from shards.errors import UserError

LENGTHS = {"epochs", "max_seconds"}
"""May change when a run is resumed, but not between rows that are compared."""
CHANGEABLE = (pretrain_config.CHANGEABLE_ON_RESUME - LENGTHS) | {"out"}
CHANGEABLE_OF_BENCHMARKS = (downstream_settings.CHANGEABLE_ON_RESUME - LENGTHS) | {"root", "out", "weights", "device"}


def check_rows(plan: Plan, rows: Sequence[Row]) -> None:
    """Checks every row by the rules that its commands will check it by, and against what was run before.

    Raises:
        UserError: begins with the row or the benchmark and names the setting, its value and its rule.
    """
    num_processes = _num_processes(plan.launch_file)
    pairs: dict[DataSettings, int] = {}
    for row in rows:
        with _saying(row.name):
            check_choices_and_rules(row.config)
            if row.config.data not in pairs:
                pairs[row.config.data] = _count_training_pairs(row.config)
            layout = BatchLayout(row.config.batch_size, num_processes, row.config.optimizer.accumulation)
            layout.steps_per_epoch(pairs[row.config.data])
    for job in rows[0].benchmarks:
        with _saying(f"benchmarks.{job.label}"):
            _check_job(job)
    for row in rows:
        with _saying(row.name):
            _refuse_changes(row)


@contextmanager
def _saying(where: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _count_training_pairs(config: Config) -> int:
    shard_set = open_training_shards(config)
    if shard_set.num_samples(VALIDATION_SPLIT) < 2:
        raise UserError(
            f"{config.shards} has {shard_set.num_samples(VALIDATION_SPLIT)} validation pairs, ranking needs at least "
            "2; build the shards with another --split-by"
        )
    return shard_set.num_samples(TRAIN_SPLIT)


def _check_job(job: Job) -> None:
    settings = job.settings
    if isinstance(settings, EvaluateOptions):
        if settings.crops is not None:
            require(settings, "crops", lambda value: value >= 1, ">= 1")
        require(settings, "batch_size", lambda value: value >= 1, ">= 1")
        open_split(settings.shards, settings.split)
        return
    check_settings(settings)
    if settings.protocol != "paper" and job.benchmark not in SCENE_BENCHMARKS:
        raise UserError(f"protocol must be paper for {job.benchmark}, got {settings.protocol}")
    benchmark = BENCHMARKS[job.benchmark]
    if isinstance(benchmark, TransferBenchmark | SoundEventsBenchmark):
        benchmark.load(settings.root, settings.transfer, allow_partial=settings.allow_partial)
    else:
        benchmark.load(settings.root, allow_partial=settings.allow_partial)


def _refuse_changes(row: Row) -> None:
    """Rows that were begun under other settings can't stand beside those that are run now."""
    if not (row.folder / SETTINGS_NAME).is_file():
        return
    before = flatten(load_settings(Config, row.folder / SETTINGS_NAME))
    _compare(before, flatten(row.config), CHANGEABLE, row.folder)
    path = row.folder / BENCHMARKS_NAME
    record = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for job in row.benchmarks:
        if job.label in record and job.folder.exists():
            with _saying(job.label):
                _compare(record[job.label], flatten(job.settings), CHANGEABLE_OF_BENCHMARKS, job.folder)


def _compare(before: dict[str, Any], now: dict[str, Any], changeable: frozenset[str] | set[str], folder: Path) -> None:
    for name, value in now.items():
        if name not in changeable and name in before and before[name] != value:
            raise UserError(
                f"{name} was {before[name]} when it was begun and is {value} in the plan; change it back, name another "
                f"--out, or remove {folder} to run it anew"
            )


def _num_processes(launch_file: Path) -> int:
    """How many processes a launch file starts, over all machines."""
    try:
        record = yaml.safe_load(launch_file.read_text(encoding="utf-8"))
        return int(record["num_processes"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise UserError(
            f"launch {launch_file} must be a configuration of accelerate that says num_processes, and can't be read "
            f"as one ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
