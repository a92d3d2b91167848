"""A scene benchmark from its folder to its results, under any protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from downstream.protocols import FROZEN_PROTOCOLS
from downstream.results import RESULTS_NAME, Results, write_predictions
from downstream.running.class_activation import write_activation_maps
from downstream.running.classifier_files import finished_summary, read_classifier
from downstream.running.pictures import write_pictures
from downstream.running.splits import Split, alternating_split, stratified_split
from downstream.scenes.benchmark import SceneBenchmark
from downstream.scenes.classification import SceneRecognition
from downstream.scenes.frozen import run_frozen
from downstream.scenes.images import WholeImage
from downstream.scenes.job import SceneJob, SceneOutcome, open_job
from downstream.scenes.tuned import run_tuned
from downstream.settings import DownstreamSettings, how_trained
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.settings.files import save_settings
from pretrain.training.loop import CONFIG_NAME, Loop
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.tracking import Tracking
from shards.errors import UserError


def run_scenes(
    benchmark: SceneBenchmark,
    settings: DownstreamSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> bool:
    """Runs a scene benchmark and writes `results.json` and what belongs to it.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: data, weights and settings don't fit together.
    """
    if resume:
        _refuse_finished(settings)
    job = open_job(benchmark, settings, accelerator, preemption, resume=resume)
    settings = job.settings
    if distributed.is_first():
        save_settings(settings, settings.out / CONFIG_NAME)
    if settings.protocol != "paper":
        # Runs within this one find its tracker by it.
        Tracking(accelerator, settings, settings.out).finish()
    outcome = SCENE_PROTOCOLS[settings.protocol](job)
    if outcome is None:
        return False
    if distributed.is_first():
        write_outcome(job, outcome)
    track_results(job, outcome)
    return True


def run_published(job: SceneJob) -> SceneOutcome | None:
    """The published protocol: the test part is scored after each epoch, without augmentation."""
    settings = job.settings
    split = _published_split(job)
    view = WholeImage(settings.image_size)
    task = SceneRecognition(
        settings, job.accelerator, job.encoder, job.data.classes, split, training_view=view, evaluation_view=view
    )
    total_steps = settings.epochs * task.steps_per_epoch
    summary = distributed.from_first(finished_summary(settings.out, total_steps)) if job.resume else None
    if summary is None:
        summary = Loop(task, job.accelerator, job.preemption, resume=job.resume).run()
        if summary["preempted"]:
            return None
    module = task.module
    if task.probabilities is None:
        task.probabilities, _ = task.score(read_classifier(settings.out, module), "test")
    epochs = [
        {name: value for name, value in line.items() if name not in ("step", "split")} | {"epoch": line["epoch"] + 1}
        for line in MetricsFile(settings.out).read()
        if line["split"] == "test"
    ]
    return SceneOutcome(split, task.probabilities, epochs, summary["seconds"], [settings.seed], has_classifier=True)


SCENE_PROTOCOLS: dict[str, Callable[[SceneJob], SceneOutcome | None]] = {
    "paper": run_published,
    "tuned": run_tuned,
    **dict.fromkeys(FROZEN_PROTOCOLS, run_frozen),
}
"""What runs a protocol; None where a scheduler asked to make room."""


def write_outcome(job: SceneJob, outcome: SceneOutcome) -> None:
    """Writes `results.json`, `predictions.csv` and the pictures into the run's folder."""
    settings, split, classes = job.settings, outcome.split, job.data.classes
    results = Results(
        benchmark=settings.benchmark,
        weights=settings.weights,
        weights_sha256=job.encoder.weights_sha256,
        backbone=job.encoder.backbone,
        protocol=settings.protocol,
        num_train=split.num_labelled,
        num_test=len(split.test),
        epochs=outcome.epochs,
        seconds=round(outcome.seconds, 1),
        head_on=settings.head_on,
        seed=settings.seed,
        split=split.name,
        train_fraction=split.num_labelled / (split.num_labelled + len(split.test)),
        notes=job.notes,
        details={
            "classes": classes,
            "image_size": settings.image_size,
            "weights_report": job.encoder.report,
            "num_seeds": len(outcome.seeds),
            "num_val": len(split.val),
            **({} if settings.protocol in FROZEN_PROTOCOLS else {"training": how_trained(settings)}),
            **outcome.details,
        },
    )
    results.write(settings.out)
    write_scene_predictions(settings.out, split, classes, outcome.probabilities)
    write_pictures(settings.out, split.test, classes, outcome.probabilities)
    if settings.explain and outcome.has_classifier:
        _explain(job, split)
    elif settings.explain:
        distributed.print_once(f"explain has no effect under {settings.protocol}, which trains no classifier")
    last = outcome.epochs[-1]
    sd = f" ± {last['accuracy_sd']:.4f} over {len(outcome.seeds)} seeds" if last.get("accuracy_sd") is not None else ""
    distributed.print_once(f"accuracy {last['accuracy']:.4f}{sd}; results: {settings.out / RESULTS_NAME}")


def write_scene_predictions(folder: Path, split: Split, classes: list[str], probabilities: np.ndarray) -> None:
    """`predictions.csv`: of each test item its class, the predicted one, and the probabilities of both."""
    rows: list[list[object]] = []
    for item, row in zip(split.test, probabilities, strict=True):
        best = int(row.argmax())
        rows.append([item.key, classes[item.label], classes[best], f"{row[item.label]:.6f}", f"{row[best]:.6f}"])
    header = ["key", "class", "predicted", "probability_of_class", "probability_of_predicted"]
    write_predictions(folder, header, rows)


def track_results(job: SceneJob, outcome: SceneOutcome) -> None:
    """Hands the last scores and `results.json` to the experiment tracker, under the run's id."""
    out, last = job.settings.out, outcome.epochs[-1]
    scores: dict[str, Any] = {name: value for name, value in last.items() if name != "epoch"}
    tracking = Tracking(job.accelerator, job.settings, out)
    if job.settings.protocol != "paper":
        # The epochs of the published protocol are there already.
        tracking.log({f"test/{name}": value for name, value in scores.items()}, step=last["epoch"])
    tracking.log_file(out / RESULTS_NAME)
    tracking.finish()


def _explain(job: SceneJob, split: Split) -> None:
    settings, device = job.settings, job.accelerator.device
    # Read anew: an engine may have taken the trained module apart.
    view = WholeImage(settings.image_size)
    task = SceneRecognition(
        settings,
        job.accelerator,
        job.fresh_encoder(settings.seed),
        job.data.classes,
        split,
        training_view=view,
        evaluation_view=view,
    )
    module = read_classifier(settings.out, task.module)
    write_activation_maps(settings.out, module, split.test, view, job.data.classes, settings.explain, device)


def _published_split(job: SceneJob) -> Split:
    if job.settings.train_fraction:
        return stratified_split(job.data.items, job.settings.train_fraction, job.settings.seed)
    return alternating_split(job.data.items)


def _refuse_finished(settings: DownstreamSettings) -> None:
    if not (settings.out / RESULTS_NAME).is_file():
        return
    trained = Results.read(settings.out).epochs[-1]["epoch"]
    if settings.protocol != "paper":
        raise UserError(f"nothing to resume at {settings.out}: it has its results; name another --out to run it again")
    if trained >= settings.epochs:
        raise UserError(
            f"epochs must be > {trained}, which the run in {settings.out} has trained already, got {settings.epochs}; "
            "give a larger --epochs to train it further"
        )
