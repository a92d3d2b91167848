"""Runs of the training loop for several seeds within one benchmark: each is trained, resumed, or read if finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from downstream.benchmarks import load_run_settings
from downstream.results import RESULTS_NAME, Results
from downstream.running.training import train_to_end
from downstream.scores import mean_and_sd
from downstream.settings import DownstreamSettings, SeededSettings
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.training.run_folder import CHECKPOINTS_FOLDER, CONFIG_NAME
from pretrain.training.task import Task
from pretrain.training.tracking import Tracking
from shards.errors import UserError

Seeded = TypeVar("Seeded", bound=SeededSettings)
SplitOfSeed = TypeVar("SplitOfSeed")
"""An object with the lists `train`, `val` and `test`."""


@dataclass(frozen=True)
class Outcome(Generic[SplitOfSeed]):
    """Test results of one seed's run.

    Attributes:
        seed: of the run.
        split: its items.
        probabilities: (test items, classes).
        scores: on them.
        summary: what its training ended with.
    """

    seed: int
    split: SplitOfSeed
    probabilities: NDArray[np.float32]
    scores: dict[str, float]
    summary: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """The record in `results.json`."""
        parts = {f"num_{name}": len(getattr(self.split, name)) for name in ("train", "val", "test")}
        ended = {name: self.summary[name] for name in ("best_step", "step", "stopped_early")}
        return {"seed": self.seed, **parts, **ended, **self.scores}


def seed_settings(settings: Seeded) -> list[Seeded]:
    """The settings of each seed's run, in `OUT/seed-<seed>`."""
    return [
        replace(settings, seed=seed, out=settings.out / f"seed-{seed}")
        for seed in range(settings.seed, settings.seed + settings.num_seeds)
    ]


def train(
    make_task: Callable[[], Task],
    settings: DownstreamSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    title: str = "",
) -> dict[str, Any] | None:
    """Trains or resumes the run of one seed, or reads the summary of a finished one; returns None if preempted.

    Args:
        make_task: builds the task.
        settings: settings of the seed.
        accelerator: the processes that train together.
        preemption: reports preemption.
        title: printed if there is something left to train; by default the seed.

    Raises:
        UserError: the run was started with another number of epochs.
    """
    title = title or f"seed {settings.seed}"
    config = settings.out / CONFIG_NAME
    if config.is_file():
        begun = load_run_settings(config).epochs
        if begun != settings.epochs:
            raise UserError(
                f"epochs is {begun} in {settings.out} and can't be changed to {settings.epochs}; give another --out"
            )
    if distributed.is_first():
        settings.out.mkdir(parents=True, exist_ok=True)
    distributed.barrier()
    started = distributed.from_first(config.is_file())
    summary = train_to_end(make_task(), accelerator, preemption, started=started, title=f"{title}: {settings.out}")
    if summary is None:
        return None
    if distributed.is_first():
        # A finished run is not resumed; its best model counts.
        shutil.rmtree(settings.out / CHECKPOINTS_FOLDER, ignore_errors=True)
    distributed.barrier()
    return summary


def scores_of(outcomes: Sequence[Outcome[Any]], epochs: int) -> list[dict[str, Any]]:
    """`Results.epochs` over several seeds: mean and standard deviation of each score."""
    return [{"epoch": epochs, **mean_and_sd([outcome.scores for outcome in outcomes])}]


def track(settings: DownstreamSettings, results: Results) -> None:
    """Logs the scores and `results.json` to the experiment tracker."""
    tracking = Tracking(settings, settings.out)
    last = results.epochs[-1]
    tracking.log({f"test/{name}": value for name, value in last.items() if name != "epoch"}, step=last["epoch"])
    tracking.log_file(settings.out / RESULTS_NAME)
    tracking.finish()
