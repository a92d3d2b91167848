"""Checks before the first row starts: settings, data, and rows that were started with other settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from downstream import settings as downstream_settings
from downstream.benchmarks import BENCHMARKS
from downstream.dry_run import sizes_of
from downstream.settings import DownstreamSettings
from launch.comparison.costs import Sizes
from launch.comparison.plan import Plan
from launch.comparison.rows import Job, Row, check_settings, saying
from launch.comparison.steps import BENCHMARKS_NAME, SETTINGS_NAME, Training, settings_of_benchmarks, steps_of
from pretrain.data.batches import BatchLayout, open_training_shards
from pretrain.model import refuse_other_spectrograms
from pretrain.pretraining import check_norm
from pretrain.settings import pretraining as pretrain_config
from pretrain.settings.files import flatten, load_settings
from pretrain.settings.pretraining import Config, DataSettings
from pretrain.training.processes import check_requirements
from pretrain.weights.published_weights import unknown_encoders, without_fetching
from retrieval.embedding import open_split
from retrieval.options import EvaluateOptions
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT, VALIDATION_SPLIT, SpectrogramSettings
from shards.streaming.locations import is_url
from shards.streaming.reading import ShardSet
from shards.yaml_text import read_yaml

LENGTHS = {"epochs", "max_seconds"}
"""Settings that may change when a run is resumed, but not between compared rows."""
CHANGEABLE = (pretrain_config.CHANGEABLE_ON_RESUME - LENGTHS) | {"out"}
PACE = {"threads", "data.workers"}
"""Settings that may not change either in rows with max_seconds, because they determine how much is trained in it."""
CHANGEABLE_OF_BENCHMARKS = (downstream_settings.CHANGEABLE_ON_RESUME - LENGTHS) | {"root", "out", "weights", "device"}


def check_rows(plan: Plan, rows: Sequence[Row], *, here: bool = True, fetches: bool = True) -> Sizes:
    """Checks the unfinished steps of the rows like their commands would, and all rows against earlier settings.

    Args:
        plan: the rows' plan.
        rows: the rows to run.
        here: whether they run on this machine; if not, device-dependent checks are left to the machine that runs them.
        fetches: whether weights, shards and data may be fetched or generated; if not, what needs that is not checked.

    Returns:
        What was counted.

    Raises:
        UserError: starts with the row or the benchmark, and names the setting, its value and the rule.
    """
    for row in rows:
        with saying(row.name):
            _refuse_changes(row)
    timed = [row for row in rows if row.config.max_seconds and row.config.epochs]
    for row in timed:
        with saying(row.name):
            _refuse_another_pace(row, timed[0])
    untrained = [row for row in rows if not Training(row).is_done()]
    check_settings(untrained)
    sizes = _check_trainings(untrained, _num_processes(plan.launch_file), here=here, fetches=fetches)
    missing = {step.label for row in rows for step in steps_of(row) if not step.is_done()}
    for job in rows[0].benchmarks:
        if job.label in missing:
            with saying(f"benchmarks.{job.label}"):
                sizes.benchmarks[job.label] = _check_job(job, fetches=fetches)
    return sizes


def _check_trainings(rows: Sequence[Row], num_processes: int, *, here: bool, fetches: bool) -> Sizes:
    sizes = Sizes()
    shard_sets: dict[DataSettings, ShardSet] = {}
    built: set[Config] = set()
    for row in rows:
        config = row.config if fetches else without_fetching(row.config)
        with saying(row.name):
            check_requirements(config)
            if here:
                check_norm(config, "cuda" if torch.cuda.is_available() else "cpu")
            if not fetches and is_url(config.shards):
                continue
            if config.data not in shard_sets:
                shard_sets[config.data] = _open_shards(config)
            shard_set = shard_sets[config.data]
            layout = BatchLayout(config.batch_size, num_processes, config.optimizer.accumulation)
            sizes.pairs[row.number] = shard_set.num_samples(TRAIN_SPLIT)
            sizes.steps[row.number] = layout.steps_per_epoch(sizes.pairs[row.number])
            # The config as one of several processes sees it, because this process is alone.
            part = replace(config, batch_size=config.batch_size // num_processes, seed=0, out=Path())
            if part not in built and (fetches or not unknown_encoders(config)):
                part.build(shard_set.manifest)
                built.add(part)
            for job in row.benchmarks:
                if isinstance(job.settings, DownstreamSettings) and job.settings.needs_known_spectrograms:
                    spectrogram = shard_set.manifest.spectrogram
                    where = f"the clips of benchmarks.{job.label}"
                    if not spectrogram.is_published:
                        refuse_other_spectrograms(spectrogram, SpectrogramSettings(), where)
    return sizes


def _open_shards(config: Config) -> ShardSet:
    shard_set = open_training_shards(config)
    if shard_set.num_samples(VALIDATION_SPLIT) < 2:
        raise UserError(
            f"{config.shards} has {shard_set.num_samples(VALIDATION_SPLIT)} validation pairs, but ranking needs at "
            "least 2; build the shards with another --split-by"
        )
    return shard_set


def _check_job(job: Job, *, fetches: bool) -> dict[str, int]:
    """Checks a benchmark; what it has, such as pairs or items, and how many."""
    settings = job.settings
    if isinstance(settings, EvaluateOptions):
        settings.check_values()
        split = open_split(settings.shards, settings.split)
        return {f"pairs of split {settings.split}": split.num_samples(settings.split)}
    check_requirements(settings)
    benchmark = BENCHMARKS[job.benchmark]
    if not fetches and benchmark.is_generated_in(settings.root):
        return {}
    return sizes_of(benchmark.kind.check(benchmark, settings))


def _refuse_changes(row: Row) -> None:
    """Rejects a row that was started with other settings, because its results would not be comparable."""
    if (row.folder / SETTINGS_NAME).is_file():
        before = flatten(load_settings(Config, row.folder / SETTINGS_NAME))
        changeable = CHANGEABLE - PACE if row.config.max_seconds else CHANGEABLE
        _compare(before, flatten(row.config), changeable, row.folder)
    record = settings_of_benchmarks(row)
    for job in row.benchmarks:
        if job.folder.exists():
            with saying(job.label):
                if job.label not in record:
                    raise UserError(
                        f"{job.folder} exists, but {row.folder / BENCHMARKS_NAME} does not state its settings; remove "
                        "it to rerun the benchmark, or choose another label"
                    )
                _compare(record[job.label], flatten(job.settings), CHANGEABLE_OF_BENCHMARKS, job.folder)


def _refuse_another_pace(row: Row, first: Row) -> None:
    ours, theirs = flatten(row.config), flatten(first.config)
    for name in sorted(PACE):
        if ours[name] != theirs[name]:
            raise UserError(
                f"{name} must be the same in all rows with max_seconds, because it determines how much is trained in "
                f"that time, got {ours[name]}, and {theirs[name]} in {first.name}"
            )


def _compare(before: dict[str, Any], now: dict[str, Any], changeable: frozenset[str] | set[str], folder: Path) -> None:
    for name, value in now.items():
        if name not in changeable and name in before and before[name] != value:
            raise UserError(
                f"{name} was {before[name]} when it was started and is {value} in the plan; change it back, give "
                f"another --out, or remove {folder} to start it again"
            )


def _num_processes(launch_file: Path) -> int:
    """The number of processes that a launch file starts on all machines."""
    try:
        return int(read_yaml(launch_file)["num_processes"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"launch {launch_file} must be an accelerate config with num_processes, but can't be read as one "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
