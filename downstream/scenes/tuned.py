"""Fine-tuning as one would defend it to a reviewer: the same recipe and the same search for every kind of weights.

On the usual splits, a tenth of the training part is set aside to choose by. AdamW with a learning rate that warms up,
falls as a cosine and is lower the nearer a layer is to the pixels; random views; label smoothing; training stops early
where the validation part has not improved for some epochs, and the epoch that did best on it counts. The learning rate
is searched on the first seed: the settings' own, and a third and three times as much. The other seeds, with other
splits, take the one that did best on the validation part. The test part of each seed is scored once, at the very end.

`OUT/seed-<seed>/lr-<learning rate>/` holds a run of the training loop each; those that are finished are not trained
again when the whole is resumed.
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
from pretrain.encoders.encoder import Encoder, checked_layers
from pretrain.optimization import build_optimizer
from pretrain.training.tracking import Tracking

VAL_FRACTION = 0.1
"""Of the training part of each class, to choose by."""

LEARNING_RATE_FACTORS = (1 / 3, 1.0, 3.0)
"""Multiples of `optimizer.learning_rate` that are searched, on the first seed."""

LAYER_DECAY = 0.8
"""Factor from the learning rate of each layer of the encoder to that of the layer below it."""

LABEL_SMOOTHING = 0.1


def layer_lr_scales(encoder: Encoder) -> dict[str, float]:
    """The factor of the learning rate of each of an encoder's parameters, less for each layer down to the first.

    Raises:
        ValueError: a parameter belongs to no layer, or to several.
    """
    layers = reversed(checked_layers(encoder))
    return {name: LAYER_DECAY**depth for depth, layer in enumerate(layers, start=1) for name in layer}


class TunedRecognition(ValidatedSceneRecognition):
    """Scene recognition with layer-wise learning rates and label smoothing."""

    label_smoothing = LABEL_SMOOTHING

    @override
    def optimizer(self) -> torch.optim.Optimizer:
        of_encoder = {f"trunk.{name}": scale for name, scale in layer_lr_scales(self.module.trunk).items()}
        return build_optimizer(self.module, self.settings.optimizer, lambda name: of_encoder.get(name, 1.0))


@dataclass(frozen=True)
class TunedRun:
    """A finished run of one seed under one learning rate.

    Attributes:
        settings: its own; `out` is its folder.
        split: the seed's.
        summary: what it ended with.
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
    """Searches, trains each seed, and scores each on its test part."""
    # Runs within this one find its tracker by it.
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
    distributed.print_once(f"learning rate {learning_rate:g} did best on the validation part of seed {first}")
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
    """A run of one seed under one learning rate; None where it was preempted."""
    settings = _settings(job, seed, learning_rate)
    title = f"seed {seed}, learning rate {learning_rate:g}"
    summary = train(lambda: _task(job, settings), settings, job.accelerator, job.preemption, title=title)
    return None if summary is None else TunedRun(settings, _split(job, seed), summary)


def _settings(job: SceneJob, seed: int, learning_rate: float) -> SceneSettings:
    """Of one run, in its own folder."""
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
    """Probabilities and scores of a run's best model on its test part; `keep` writes that model to `OUT/model/`."""
    # A new one: an engine may have taken the trained module apart.
    task = _task(job, run.settings)
    module = read_classifier(run.settings.out, task.module)
    if keep and distributed.is_first():
        write_classifier(Path(job.settings.out), module, job.data.classes, job.settings)
    return task.score(module, "test")
