"""A full fine-tuning recipe, with the same search for all weights.

On the usual splits, a tenth of the training items is set aside for validation. The recipe: AdamW with warm-up, a cosine
schedule and layer-wise learning-rate decay; random augmentation; label smoothing; early stopping on the validation
split, whose best epoch counts. The learning rate is searched on the first seed: that of the settings, a third of it and
three times it. The other seeds, with other splits, use the best one on the validation split. The test split of each
seed is scored once, at the end.

Each `OUT/seed-<seed>/lr-<learning rate>/` holds a run of the training loop; finished runs are not trained again on
resume.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from downstream.running.classifier_files import read_classifier
from downstream.running.images import WholeImage
from downstream.running.seeded_runs import train
from downstream.running.splits import Split, stratified_split
from downstream.scenes.augmentation import RandomSceneView
from downstream.scenes.classification import ValidatedSceneRecognition, write_classifier
from downstream.scenes.job import SceneJob, SceneOutcome
from downstream.scenes.kind import SceneSettings
from downstream.scores import mean_and_sd
from pretrain import distributed
from pretrain.optimization import build_optimizer, layer_lr_scales
from pretrain.training.tracking import Tracking

VAL_FRACTION = 0.1
"""Share of each class's training split that learning rate and epochs are chosen on."""

LEARNING_RATE_FACTORS = (1 / 3, 1.0, 3.0)
"""Multiples of `optimizer.learning_rate` that are searched, on the first seed."""

LAYER_DECAY = 0.8
"""Factor from the learning rate of each layer of the encoder to that of the layer below it."""

LABEL_SMOOTHING = 0.1


class TunedRecognition(ValidatedSceneRecognition):
    """Scene recognition with layer-wise learning rates and label smoothing."""

    label_smoothing = LABEL_SMOOTHING

    @override
    def optimizer(self) -> torch.optim.Optimizer:
        of_encoder = {f"trunk.{name}": scale for name, scale in layer_lr_scales(self.module.trunk, LAYER_DECAY).items()}
        return build_optimizer(self.module, self.settings.optimizer, lambda name: of_encoder.get(name, 1.0))


@dataclass(frozen=True)
class TunedRun:
    """A finished run with one seed and one learning rate.

    Attributes:
        settings: its settings; `out` is its folder.
        split: its split.
        summary: summary of its training.
    """

    settings: SceneSettings
    split: Split
    summary: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Its record in the results."""
        return {
            "learning_rate": self.settings.optimizer.learning_rate,
            "val_accuracy": 1 - self.summary["best_error"],
            "best_step": self.summary["best_step"],
            "steps": self.summary["step"],
            "stopped_early": self.summary["stopped_early"],
        }


def run_tuned(job: SceneJob) -> SceneOutcome | None:
    """Searches the learning rate, trains each seed, and scores each on its test split."""
    # Nested runs find the tracker through this record.
    Tracking(job.settings, job.settings.out).finish()
    first, *others = job.seeds
    search: list[TunedRun] = []
    for factor in LEARNING_RATE_FACTORS:
        run = _train(job, first, job.settings.optimizer.learning_rate * factor)
        if run is None:
            return None
        search.append(run)
    best = min(search, key=lambda run: run.summary["best_error"])
    learning_rate = best.settings.optimizer.learning_rate
    distributed.note_once(f"learning rate {learning_rate:g} is best on the validation split of seed {first}")
    chosen = [best]
    for seed in others:
        run = _train(job, seed, learning_rate)
        if run is None:
            return None
        chosen.append(run)
    scored = [_score(job, run, keep=run is best) for run in chosen]
    scores = [scores for _, scores in scored]
    seeds = [
        {"seed": run.settings.seed, **run.record(), **its_scores}
        for run, its_scores in zip(chosen, scores, strict=True)
    ]
    return SceneOutcome(
        split=best.split,
        probabilities=scored[0][0],
        epochs=[{"epoch": job.settings.epochs, **mean_and_sd(scores)}],
        seconds=sum(run.summary["seconds"] for run in (*search, *chosen[1:])),
        seeds=job.seeds,
        details={"seeds": seeds, "search": [run.record() for run in search]},
        has_classifier=True,
    )


def _train(job: SceneJob, seed: int, learning_rate: float) -> TunedRun | None:
    """Trains with one seed and one learning rate; returns None if preempted."""
    settings = _settings(job, seed, learning_rate)
    title = f"seed {seed}, learning rate {learning_rate:g}"
    summary = train(lambda: _task(job, settings), settings, job.accelerator, job.preemption, title=title)
    return None if summary is None else TunedRun(settings, _split(job, seed), summary)


def _settings(job: SceneJob, seed: int, learning_rate: float) -> SceneSettings:
    """Settings of one run, with its own folder."""
    out = job.settings.out / f"seed-{seed}" / f"lr-{learning_rate:g}"
    optimizer = replace(job.settings.optimizer, learning_rate=learning_rate)
    return replace(job.settings, seed=seed, out=out, optimizer=optimizer)


def _split(job: SceneJob, seed: int) -> Split:
    return stratified_split(job.data.items, job.train_fraction, seed, val_fraction=VAL_FRACTION)


def _task(job: SceneJob, settings: SceneSettings) -> TunedRecognition:
    return TunedRecognition(
        settings,
        job.accelerator,
        job.fresh_encoder(settings.seed),
        job.data.classes,
        _split(job, settings.seed),
        training_view=RandomSceneView(settings.image_size),
        evaluation_view=WholeImage(settings.image_size),
    )


def _score(job: SceneJob, run: TunedRun, *, keep: bool) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Test probabilities and scores of a run's best model; `keep` writes that model to `OUT/model/`."""
    # A new module, because an engine may have modified the trained one.
    task = _task(job, run.settings)
    module = read_classifier(run.settings.out, task.module)
    if keep and distributed.is_first():
        write_classifier(Path(job.settings.out), module, job.data.classes, job.settings)
    return task.score(module, "test")
