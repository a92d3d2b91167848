"""What the files of a planned run say: how far it has come, its scores beside chance, and what it took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from downstream.benchmarks import kind_of
from downstream.results import RESULTS_NAME, Results
from pretrain.ranking_scores import DIRECTIONS, MEDIAN_RANK, RECALL_AT_10_PERCENT, RECALLS
from pretrain.settings.pretraining import Config
from pretrain.training.loop import SUMMARY_NAME
from pretrain.training.metrics_file import METRICS_NAME as TRAINING_METRICS_NAME
from retrieval.metrics_file import METRICS_NAME as RETRIEVAL_METRICS_NAME
from shards.errors import UserError

FAILED_NAME = "failed.txt"
"""In the folder of a row that failed: a line for each error."""

RETRIEVAL = "retrieval"
"""The benchmark of a job that ranks pairs; the others are names in `downstream.benchmarks.BENCHMARKS`."""

RETRIEVAL_SCORES = (RECALLS[100], RECALLS[10], RECALL_AT_10_PERCENT, MEDIAN_RANK)
"""The headline scores of a direction in `metrics.json`."""

State = Literal["missing", "training", "trained", "done", "failed"]


class Job(Protocol):
    """One benchmark of a row."""

    @property
    def label(self) -> str:
        """Tells it apart from the other benchmarks of its row; the same in all rows of the plan."""

    @property
    def benchmark(self) -> str:
        """ "retrieval", or a name in `downstream.benchmarks.BENCHMARKS`."""

    @property
    def folder(self) -> Path:
        """Of its results."""


class PlannedRow(Protocol):
    """What the report asks of a row of a plan."""

    @property
    def number(self) -> int:
        """In the plan, from 1."""

    @property
    def method(self) -> str:
        """Label of the method."""

    @property
    def backbone(self) -> str:
        """Of the image tower, a name in `pretrain.encoders.ENCODERS`."""

    @property
    def seed(self) -> int:
        """Of the run."""

    @property
    def folder(self) -> Path:
        """Of the row."""

    @property
    def run_folder(self) -> Path:
        """Of its pre-training."""

    @property
    def config(self) -> Config:
        """Of its pre-training."""

    @property
    def benchmarks(self) -> Sequence[Job]:
        """What its weights are scored on."""


@dataclass(frozen=True)
class RowOutcome:
    """What became of one row.

    Attributes:
        number: in the plan, from 1.
        method: label of the method.
        backbone: of the image tower, a name in `pretrain.encoders.ENCODERS`.
        seed: of the run.
        image_only: whether the method leaves the sound tower as it was initialised.
        max_seconds: the limit of its training time; 0 for none, None where nothing is trained.
        state: "missing" (not begun), "training", "trained" (a score is wanting), "done" or "failed".
        reason: of the failure; empty otherwise.
        scores: by `<label>/<score>`, for retrieval `<label>/<direction>/<score>`; fractions, and ranks from 1.
        chance: what a random order reaches, by the same keys, where it is known.
        gallery_sizes: pairs that were ranked, by label.
        training_seconds: in training steps alone; None where not known, as are the following.
        wall_seconds: since the start, validations and checkpoints included.
        steps: of the optimiser.
        pairs_seen: pairs (of image-only methods, images) that went into these steps, repetitions counted.
        peak_memory_bytes: the largest of a process.
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
    gallery_sizes: dict[str, int] = field(default_factory=dict)
    training_seconds: float | None = None
    wall_seconds: float | None = None
    steps: int | None = None
    pairs_seen: int | None = None
    peak_memory_bytes: int | None = None


def read_outcome(row: PlannedRow) -> RowOutcome:
    """Reads what there is of a row.

    Raises:
        UserError: a file is there and can't be understood.
    """
    rankings, results = _read_rankings(row), _read_results(row)
    scores: dict[str, float] = {}
    chance: dict[str, float] = {}
    for label, metrics in rankings.items():
        scores |= _retrieval_scores(label, metrics, tuple(DIRECTIONS))
        chance |= _retrieval_scores(label, metrics, ("chance",) * len(DIRECTIONS))
    for label, result in results.items():
        scores |= _downstream_scores(label, result)
    summary = _read_json(row.run_folder / SUMMARY_NAME) or {}
    steps = summary.get("step")
    state = _state(row, is_trained=bool(summary), num_scored=len(rankings) + len(results))
    return RowOutcome(
        number=row.number,
        method=row.method,
        backbone=row.backbone,
        seed=row.seed,
        image_only=row.config.method != "audiovisual",
        max_seconds=row.config.max_seconds if row.config.epochs else None,
        state=state,
        reason=_reason(row) if state == "failed" else "",
        scores=scores,
        chance=chance,
        gallery_sizes={label: metrics["gallery_size"] for label, metrics in rankings.items()},
        training_seconds=summary.get("training_seconds"),
        wall_seconds=summary.get("seconds"),
        steps=steps,
        pairs_seen=None if steps is None else steps * row.config.batch_size,
        peak_memory_bytes=summary.get("peak_memory_bytes"),
    )


def _reason(row: PlannedRow) -> str:
    """The sentences of the failure, one for each part of the row that failed."""
    return "; ".join((row.folder / FAILED_NAME).read_text(encoding="utf-8").splitlines())


def _read_rankings(row: PlannedRow) -> dict[str, dict[str, Any]]:
    """Label → `metrics.json` of the retrieval that is done."""
    jobs = [job for job in row.benchmarks if job.benchmark == RETRIEVAL]
    read = {job.label: _read_json(job.folder / RETRIEVAL_METRICS_NAME) for job in jobs}
    return {label: metrics for label, metrics in read.items() if metrics is not None}


def _read_results(row: PlannedRow) -> dict[str, Results]:
    """Label → results of the downstream benchmarks that are done."""
    jobs = [job for job in row.benchmarks if job.benchmark != RETRIEVAL and (job.folder / RESULTS_NAME).is_file()]
    return {job.label: Results.read(job.folder) for job in jobs}


def _state(row: PlannedRow, *, is_trained: bool, num_scored: int) -> State:
    # A failure that a later attempt has mended is none.
    if is_trained and num_scored == len(row.benchmarks):
        return "done"
    if (row.folder / FAILED_NAME).is_file():
        return "failed"
    if is_trained:
        return "trained"
    return "training" if (row.run_folder / TRAINING_METRICS_NAME).is_file() else "missing"


def _retrieval_scores(label: str, metrics: dict[str, Any], sources: Sequence[str]) -> dict[str, float]:
    """Headline scores of each direction, as `metrics[source]` has them; those that don't exist are left out."""
    return {
        f"{label}/{direction}/{score.key}": value
        for direction, source in zip(DIRECTIONS, sources, strict=True)
        for score in RETRIEVAL_SCORES
        if (value := score.value_in(metrics[source])) is not None
    }


def _downstream_scores(label: str, results: Results) -> dict[str, float]:
    """Headline scores after the last epoch, or their means over the seeds."""
    return {
        f"{label}/{score.key}": value
        for score in kind_of(results.benchmark).reporting.scores
        if (value := score.value_in(results.epochs[-1])) is not None
    }


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({error}); delete it and run the plan again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object, got {content!r}; delete it and run the plan again")
    return content
