"""The published protocol: fine-tuning without augmentation, the test part scored after each epoch (section V-A)."""

from __future__ import annotations

from downstream.running.splits import Split, alternating_split, stratified_split
from downstream.scenes.job import SceneJob


def _published_split(job: SceneJob) -> Split:
    if job.settings.train_fraction:
        return stratified_split(job.data.items, job.settings.train_fraction, job.settings.seed)
    return alternating_split(job.data.items)
