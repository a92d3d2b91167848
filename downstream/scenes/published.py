"""The published protocol: fine-tuning without augmentation, the test part scored after each epoch (section V-A)."""

from __future__ import annotations

from downstream.running.classifier_files import finished_summary, read_classifier
from downstream.running.images import WholeImage
from downstream.running.splits import Split, alternating_split, stratified_split
from downstream.scenes.classification import SceneRecognition
from downstream.scenes.job import SceneJob, SceneOutcome
from pretrain import distributed
from pretrain.training.loop import Loop
from pretrain.training.metrics_file import MetricsFile


def run_published(job: SceneJob) -> SceneOutcome | None:
    """Fine-tunes on the training part; None where the run was preempted."""
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
    if task.probabilities is None:
        task.probabilities, _ = task.score(read_classifier(settings.out, task.module), "test")
    epochs = [
        {name: value for name, value in line.items() if name not in ("step", "split")} | {"epoch": line["epoch"] + 1}
        for line in MetricsFile(settings.out).read()
        if line["split"] == "test"
    ]
    return SceneOutcome(
        split=split,
        probabilities=task.probabilities,
        epochs=epochs,
        seconds=summary["seconds"],
        seeds=[settings.seed],
        has_classifier=True,
        is_tracked=True,
    )


def _published_split(job: SceneJob) -> Split:
    if job.settings.train_fraction:
        return stratified_split(job.data.items, job.settings.train_fraction, job.settings.seed)
    return alternating_split(job.data.items)
