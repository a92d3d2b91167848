"""advance-transfer from its folder to its results: a network of each seed, scored once on that seed's test part."""

from __future__ import annotations

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from downstream.audiovisual.splits import PairSplit
from downstream.results import RESULTS_NAME
from downstream.running.class_activation import check_explainable
from downstream.running.classifier_files import read_classifier
from downstream.running.seeded_runs import Outcome, seed_settings, track, train
from downstream.transfer.benchmark import TransferBenchmark
from downstream.transfer.event_tagger import EventTeacher
from downstream.transfer.heard_sounds import event_answers
from downstream.transfer.job import (
    TransferJob,
    band_statistics,
    check_transfer,
    image_encoder,
    open_job,
    sound_backbone,
    sound_weights,
    teacher_of,
)
from downstream.transfer.kind import TransferRunSettings
from downstream.transfer.outcome import transfer_results, write_pair_predictions, write_transfer_pictures
from downstream.transfer.pair_batches import Heard
from downstream.transfer.settings import approach_of
from downstream.transfer.task import TransferRecognition
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.settings.files import save_settings
from pretrain.training.run_folder import CONFIG_NAME
from pretrain.weights.encoder_weights import LoadedEncoder


def run_transfer(
    benchmark: TransferBenchmark,
    settings: TransferRunSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,  # noqa: ARG001  # existing results are found without it
) -> bool:
    """Trains and scores a network of each seed; writes `results.json`, `predictions.csv` and pictures.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: data, weights, teacher and settings don't fit together.
    """
    settings, data, known = check_transfer(benchmark, settings)
    teacher = teacher_of(settings)
    image = image_encoder(settings)
    if settings.explain and settings.transfer.modality != "sound":
        check_explainable(image, settings.image_size, on_embedding=False)
    distributed.note_once(f"image encoder: {image.report}")
    distributed.note_once(f"sound encoder: {sound_weights(settings, teacher)}")
    if distributed.is_first():
        save_settings(settings, settings.out / CONFIG_NAME)
    job = open_job(settings, accelerator, preemption, data, known)
    splits = [job.split(own.seed) for own in seed_settings(settings)]
    outcomes: list[Outcome[PairSplit]] = []
    events: NDArray[np.float32] | None = None
    for own, split in zip(seed_settings(settings), splits, strict=True):
        scored = _run_seed(job, own, split)
        if scored is None:
            return False
        outcome, its_events = scored
        outcomes.append(outcome)
        events = its_events if len(outcomes) == 1 else events
    _finish(job, outcomes, events, image, teacher)
    return True


def _finish(
    job: TransferJob,
    outcomes: list[Outcome[PairSplit]],
    events: NDArray[np.float32] | None,
    image: LoadedEncoder,
    teacher: EventTeacher | None,
) -> None:
    results = transfer_results(job, outcomes, image, teacher)
    if distributed.is_first():
        write_pair_predictions(job, outcomes)
        write_transfer_pictures(job, outcomes[0], events)
        results.write(job.settings.out)  # last, for a run that has it is finished
        last = results.epochs[-1]
        figures = ", ".join(f"{name} {last[name]:.4f}" for name in ("precision", "recall", "f1"))
        distributed.print_once(f"{approach_of(job.settings)}: {figures}; results: {job.settings.out / RESULTS_NAME}")
    track(job.settings, results)


def _run_seed(
    job: TransferJob, settings: TransferRunSettings, split: PairSplit
) -> tuple[Outcome[PairSplit], NDArray[np.float32] | None] | None:
    """Test results and predicted events of one seed's network; None: preempted."""
    teacher = teacher_of(settings)
    heard = Heard(job.sounds, _answers(job, settings, teacher, split) if teacher is not None else None)

    def task() -> TransferRecognition:
        backbone = sound_backbone(settings, teacher)
        image = image_encoder(settings)
        return TransferRecognition(settings, job.accelerator, image, backbone, teacher, heard, job.classes, split)

    summary = train(task, settings, job.accelerator, job.preemption)
    if summary is None:
        return None
    # A new one: an engine may have taken the trained module apart.
    best = task()
    scenes, events, scores = best.score(read_classifier(settings.out, best.module), "test")
    return Outcome(settings.seed, split, scenes, scores, summary), events


def _answers(
    job: TransferJob, settings: TransferRunSettings, teacher: EventTeacher, split: PairSplit
) -> NDArray[np.float32]:
    """The frozen teacher's pre-activations for every sound, in the order of the spectrograms."""
    device, sounds = job.accelerator.device, job.sounds
    network = teacher.tagger(*band_statistics(teacher, sounds, split), stride=settings.transfer.sound_stride).to(device)
    # In float32: they are the truth that training holds itself to.
    return event_answers(
        network, sounds, list(sounds.row), batch_size=settings.batch_size, device=device, precision="fp32"
    )
