"""Runs a scene benchmark under any protocol, and writes its results."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator

from downstream.results import RESULTS_NAME, Results
from downstream.running.class_activation import write_activation_maps
from downstream.running.classifier_files import read_classifier
from downstream.running.images import WholeImage
from downstream.running.pictures import write_pictures
from downstream.running.predictions import write_scene_predictions
from downstream.running.splits import Split
from downstream.scenes.benchmark import SceneBenchmark
from downstream.scenes.classification import SceneRecognition
from downstream.scenes.job import SceneJob, SceneOutcome, open_job
from downstream.scenes.kind import SCENES, SceneSettings
from downstream.settings import how_trained
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.settings.files import save_settings
from pretrain.training.run_folder import CONFIG_NAME
from pretrain.training.tracking import Tracking


def run_scenes(
    benchmark: SceneBenchmark,
    settings: SceneSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> bool:
    """Runs a scene benchmark and writes `results.json` and its other files.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: data, weights and settings don't fit together.
    """
    job = open_job(benchmark, settings, accelerator, preemption, resume=resume)
    settings = job.settings
    if distributed.is_first():
        save_settings(settings, settings.out / CONFIG_NAME)
    outcome: SceneOutcome | None = SCENES.protocol(settings.protocol, settings.benchmark).run(job)
    if outcome is None:
        return False
    if distributed.is_first():
        write_outcome(job, outcome)
    track_results(job, outcome)
    return True


def write_outcome(job: SceneJob, outcome: SceneOutcome) -> None:
    """Writes `results.json`, `predictions.csv` and the pictures to the run folder."""
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
            **({"training": how_trained(settings)} if outcome.has_classifier else {}),
            **outcome.details,
        },
    )
    write_scene_predictions(settings.out, split, classes, outcome.probabilities)
    write_pictures(settings.out, split.test, classes, outcome.probabilities, outcome.margins)
    if settings.explain and outcome.has_classifier:
        _explain(job, split)
    elif settings.explain:
        distributed.print_once(f"explain has no effect under {settings.protocol}, which trains no classifier")
    results.write(settings.out)  # last, for a run that has it is finished
    last = outcome.epochs[-1]
    sd = f" ± {last['accuracy_sd']:.4f} over {len(outcome.seeds)} seeds" if last.get("accuracy_sd") is not None else ""
    distributed.print_once(f"accuracy {last['accuracy']:.4f}{sd}; results: {settings.out / RESULTS_NAME}")


def track_results(job: SceneJob, outcome: SceneOutcome) -> None:
    """Logs the last scores and `results.json` to the experiment tracker, under the run's id."""
    out, last = job.settings.out, outcome.epochs[-1]
    scores: dict[str, Any] = {name: value for name, value in last.items() if name != "epoch"}
    tracking = Tracking(job.settings, out)
    if not outcome.is_tracked:
        tracking.log({f"test/{name}": value for name, value in scores.items()}, step=last["epoch"])
    tracking.log_file(out / RESULTS_NAME)
    tracking.finish()


def _explain(job: SceneJob, split: Split) -> None:
    settings, device = job.settings, job.accelerator.device
    # Loaded again, since an engine may have taken the trained module apart.
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
