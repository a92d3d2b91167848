"""Runs the training loop within a benchmark: trains, resumes, or finds a finished run; reads scores by epoch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.training.checkpoints import read_state
from pretrain.training.loop import Loop
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import SUMMARY_NAME, list_checkpoints, read_summary
from pretrain.training.task import Task


def train_to_end(
    task: Task, accelerator: Accelerator, preemption: PreemptionWatch, *, started: bool, title: str = ""
) -> dict[str, Any] | None:
    """Trains a task or resumes its run; a finished run is not trained again.

    Args:
        task: the task.
        accelerator: the processes that train together.
        preemption: reports preemption.
        started: whether there is a run to resume.
        title: printed if there is something left to train.

    Returns:
        The summary of the run, as in `summary.json`; None if it was preempted.
    """
    total_steps = task.settings.epochs * task.steps_per_epoch
    summary = distributed.from_first(finished_summary(task.settings.out, total_steps)) if started else None
    if summary is None:
        if title:
            distributed.note_once(title)
        summary = Loop(task, accelerator, preemption, resume=started).run()
        accelerator.free_memory()
    return None if summary.get("preempted") else summary


def finished_summary(run_folder: Path, total_steps: int) -> dict[str, Any] | None:
    """Summary of a finished run, or the state of its last checkpoint if it was killed before writing the summary.

    Returns:
        None if the run is not finished.
    """
    path = run_folder / SUMMARY_NAME
    if path.is_file():
        summary = read_summary(run_folder, "remove it to train again")
        if summary.get("stopped_early") or summary["step"] >= total_steps:
            return summary
    for checkpoint in list_checkpoints(run_folder)[-1:]:
        state = read_state(checkpoint)
        if state.step >= total_steps:
            return {**asdict(state), "stopped_early": False}
    return None


def scores_by_epoch(run_folder: Path) -> list[dict[str, Any]]:
    """`Results.epochs` of a run that is scored on the test split after each epoch; epochs count from 1."""
    return [
        {name: value for name, value in line.items() if name not in ("step", "split")} | {"epoch": line["epoch"] + 1}
        for line in MetricsFile(run_folder).read()
        if line["split"] == "test"
    ]
