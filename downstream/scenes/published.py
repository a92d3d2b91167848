"""The published protocol: fine-tuning without augmentation, scored on the test split after each epoch (section V-A)."""

from __future__ import annotations

from downstream.running.classifier_files import read_classifier
from downstream.running.images import WholeImage
from downstream.running.splits import Split, alternating_split, stratified_split
from downstream.running.training import scores_by_epoch, train_to_end
from downstream.scenes.classification import SceneRecognition
from downstream.scenes.job import SceneJob, SceneOutcome


def run_published(job: SceneJob) -> SceneOutcome | None:
    """Fine-tunes on the training split; returns None if the run was preempted."""
    settings = job.settings
    split = _published_split(job)
    view = WholeImage(settings.image_size)
    task = SceneRecognition(
        settings, job.accelerator, job.encoder, job.data.classes, split, training_view=view, evaluation_view=view
    )
    summary = train_to_end(task, job.accelerator, job.preemption, started=job.resume)
    if summary is None:
        return None
    if task.probabilities is None:
        task.probabilities, _ = task.score(read_classifier(settings.out, task.module), "test")
    return SceneOutcome(
        split=split,
        probabilities=task.probabilities,
        epochs=scores_by_epoch(settings.out),
        seconds=summary["seconds"],
        seeds=[settings.seed],
        has_classifier=True,
        is_tracked=True,
    )


def _published_split(job: SceneJob) -> Split:
    if job.settings.train_fraction:
        return stratified_split(job.data.items, job.settings.train_fraction, job.settings.seed)
    return alternating_split(job.data.items)
