"""Reads the outcome of a planned row from its files: state, scores, chance levels and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from downstream.benchmarks import kind_of
from downstream.results import RESULTS_NAME, Results
from pretrain.ranking.scores import DIRECTIONS, MEDIAN_RANK, RECALL_AT_10_PERCENT, RECALLS
from pretrain.settings.pretraining import Config
from pretrain.training.metrics_file import METRICS_NAME as TRAINING_METRICS_NAME
from pretrain.training.run_folder import SUMMARY_NAME, read_summary
from retrieval.certainty import interval_of
from retrieval.metrics_file import METRICS_NAME as RETRIEVAL_METRICS_NAME
from retrieval.metrics_file import read_metrics
from shards.errors import UserError
from shards.records import shown

FAILED_NAME = "failed.txt"
"""File in the folder of a failed row, with one line per error."""

REMEDY = "delete it and run the plan again"

RETRIEVAL = "retrieval"
"""Name of the retrieval benchmark; the others are names in `downstream.benchmarks.BENCHMARKS`."""

RETRIEVAL_SCORES = (RECALLS[100], RECALLS[10], RECALL_AT_10_PERCENT, MEDIAN_RANK)
"""The headline scores of a direction in `metrics.json`."""

State = Literal["missing", "training", "trained", "done", "failed"]


class Job(Protocol):
    """One benchmark of a row."""

    @property
    def label(self) -> str:
        """Unique label within its row; the same in all rows of the plan."""

    @property
    def benchmark(self) -> str:
        """ "retrieval", or a name in `downstream.benchmarks.BENCHMARKS`."""

    @property
    def folder(self) -> Path:
        """Folder of its results."""


class PlannedRow(Protocol):
    """The interface of a row that the report needs."""

    @property
    def number(self) -> int:
        """Number of the row in the plan, from 1."""

    @property
    def method(self) -> str:
        """Label of the method."""

    @property
    def backbone(self) -> str:
        """Image encoder, a name in `pretrain.encoders.ENCODERS`."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def folder(self) -> Path:
        """Folder of the row."""

    @property
    def run_folder(self) -> Path:
        """Run folder of its pre-training."""

    @property
    def config(self) -> Config:
        """Settings of its pre-training."""

    @property
    def benchmarks(self) -> Sequence[Job]:
        """The benchmarks of its weights."""


@dataclass(frozen=True)
class RowOutcome:
    """The outcome of one row.

    Attributes:
        number: number of the row in the plan, from 1.
        method: label of the method.
        backbone: image encoder, a name in `pretrain.encoders.ENCODERS`.
        seed: seed of the run.
        image_only: whether the method does not train the sound tower.
        max_seconds: limit on training time; 0 for none, None if nothing is trained.
        state: "missing" (not started), "training", "trained" (a score is missing), "done" or "failed".
        reason: reason of a failure, otherwise empty.
        scores: by `<label>/<score>`, for retrieval `<label>/<direction>/<score>`; fractions, and ranks from 1.
        chance: known chance levels, by the same keys.
        intervals: 95 % intervals of scores over queries, by the same keys, where the files have them.
        gallery_sizes: number of ranked pairs, by label.
        training_seconds: time in training steps alone; this and the following are None if unknown.
        wall_seconds: time since the start, including validation and checkpoints.
        steps: number of optimiser steps.
        pairs_seen: pairs in these steps (images for image-only methods), counting repetitions.
        peak_memory_bytes: maximum over processes.
    """

    number: int
    method: str
    backbone: str
    seed: int
    image_only: bool
    max_seconds: float | None
    state: State
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    gallery_sizes: dict[str, int] = field(default_factory=dict)
    training_seconds: float | None = None
    wall_seconds: float | None = None
    steps: int | None = None
    pairs_seen: int | None = None
    peak_memory_bytes: int | None = None


def read_outcome(row: PlannedRow) -> RowOutcome:
    """Reads the outcome of a row from its files.

    Raises:
        UserError: a file exists but is invalid.
    """
    rankings, results = _read_rankings(row), _read_results(row)
    scores: dict[str, float] = {}
    chance: dict[str, float] = {}
    for label, metrics in rankings.items():
        scores |= _retrieval_scores(label, metrics, tuple(DIRECTIONS))
        chance |= _retrieval_scores(label, metrics, ("chance",) * len(DIRECTIONS))
    for label, result in results.items():
        scores |= _downstream_scores(label, result)
    summary = read_summary(row.run_folder, REMEDY) if (row.run_folder / SUMMARY_NAME).exists() else {}
    steps = summary.get("step")
    state = _state(row, is_trained=bool(summary), num_scored=len(rankings) + len(results))
    return RowOutcome(
        number=row.number,
        method=row.method,
        backbone=row.backbone,
        seed=row.seed,
        image_only=not row.config.trains_sound,
        max_seconds=row.config.max_seconds if row.config.epochs else None,
        state=state,
        reason=_reason(row) if state == "failed" else "",
        scores=scores,
        chance=chance,
        intervals={
            f"{label}/{direction}/{score.key}": interval
            for label, metrics in rankings.items()
            for direction in DIRECTIONS
            for score in RETRIEVAL_SCORES
            if (interval := interval_of(metrics, direction, score)) is not None
        },
        gallery_sizes={label: metrics["gallery_size"] for label, metrics in rankings.items()},
        training_seconds=summary.get("training_seconds"),
        wall_seconds=summary.get("seconds"),
        steps=steps,
        pairs_seen=None if steps is None else steps * row.config.batch_size,
        peak_memory_bytes=summary.get("peak_memory_bytes"),
    )


def _reason(row: PlannedRow) -> str:
    """The error messages of the failed steps."""
    return "; ".join((row.folder / FAILED_NAME).read_text(encoding="utf-8", errors="replace").splitlines())


def _read_rankings(row: PlannedRow) -> dict[str, dict[str, Any]]:
    """Label → `metrics.json` of the finished retrieval benchmarks."""
    jobs = [job for job in row.benchmarks if job.benchmark == RETRIEVAL]
    files = {job.label: job.folder / RETRIEVAL_METRICS_NAME for job in jobs}
    return {label: read_metrics(file, REMEDY) for label, file in files.items() if file.exists()}


def _read_results(row: PlannedRow) -> dict[str, Results]:
    """Label → results of the finished downstream benchmarks."""
    jobs = [job for job in row.benchmarks if job.benchmark != RETRIEVAL and (job.folder / RESULTS_NAME).is_file()]
    read = {job.label: Results.read(job.folder) for job in jobs}
    for job in jobs:
        if read[job.label].benchmark != job.benchmark:
            found = shown(read[job.label].benchmark)
            raise UserError(f"{job.folder / RESULTS_NAME} holds results of {found}, not of {job.benchmark}; {REMEDY}")
    return read


def _state(row: PlannedRow, *, is_trained: bool, num_scored: int) -> State:
    # An earlier failure does not count if a later attempt succeeded.
    if is_trained and num_scored == len(row.benchmarks):
        return "done"
    if (row.folder / FAILED_NAME).is_file():
        return "failed"
    if is_trained:
        return "trained"
    return "training" if (row.run_folder / TRAINING_METRICS_NAME).is_file() else "missing"


def _retrieval_scores(label: str, metrics: dict[str, Any], sources: Sequence[str]) -> dict[str, float]:
    """Headline scores of each direction from `metrics[source]`, without undefined ones."""
    return {
        f"{label}/{direction}/{score.key}": value
        for direction, source in zip(DIRECTIONS, sources, strict=True)
        for score in RETRIEVAL_SCORES
        if (value := score.value_in(metrics[source])) is not None
    }


def _downstream_scores(label: str, results: Results) -> dict[str, float]:
    """Headline scores after the last epoch, or their means over seeds."""
    return {
        f"{label}/{score.key}": value
        for score in kind_of(results.benchmark).reporting.scores
        if (value := score.value_in(results.epochs[-1])) is not None
    }
