"""Results of an advance-transfer run: files, predictions and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstream.audiovisual.splits import SPLIT_NAMES, PairSplit
from downstream.results import Results, write_predictions
from downstream.running.class_activation import write_activation_maps
from downstream.running.classifier_files import read_classifier
from downstream.running.heads import SceneClassifier
from downstream.running.images import WholeImage
from downstream.running.items import SceneItem
from downstream.running.pictures import write_pictures
from downstream.running.seeded_runs import Outcome, scores_of, seed_settings
from downstream.settings import how_trained
from downstream.transfer.event_pictures import write_event_map
from downstream.transfer.event_tagger import EventTeacher
from downstream.transfer.job import (
    TransferJob,
    band_statistics,
    image_encoder,
    sound_backbone,
    sound_weights,
    teacher_of,
)
from downstream.transfer.network import SeenAndHeard
from downstream.transfer.settings import approach_of
from pretrain import distributed
from pretrain.weights.encoder_weights import LoadedEncoder


def transfer_results(
    job: TransferJob, outcomes: Sequence[Outcome[PairSplit]], image: LoadedEncoder, teacher: EventTeacher | None
) -> Results:
    """`results.json` over all seeds."""
    settings, first = job.settings, outcomes[0].split
    num_pairs = len(first.train) + len(first.val) + len(first.test)
    return Results(
        benchmark=settings.benchmark,
        weights=settings.weights,
        weights_sha256=image.weights_sha256,
        backbone=image.backbone,
        protocol=settings.protocol,
        num_train=len(first.train),
        num_test=len(first.test),
        epochs=scores_of(outcomes, settings.epochs),
        seconds=round(sum(outcome.summary["seconds"] for outcome in outcomes), 1),
        head_on="trunk",
        seed=settings.seed,
        split=SPLIT_NAMES[settings.split],
        train_fraction=len(first.train) / num_pairs,
        notes=job.notes,
        details=_details(job, outcomes, image, teacher),
    )


def _details(
    job: TransferJob, outcomes: Sequence[Outcome[PairSplit]], image: LoadedEncoder, teacher: EventTeacher | None
) -> dict[str, Any]:
    settings, transfer = job.settings, job.settings.transfer
    return {
        "approach": approach_of(settings),
        "modality": transfer.modality,
        "sound_weights": sound_weights(settings, teacher),
        "sound_stride": transfer.sound_stride,
        "teacher": str(transfer.teacher) if transfer.teacher is not None else None,
        "teacher_report": teacher.report if teacher is not None else None,
        "alpha": transfer.alpha,
        "beta": transfer.beta,
        "over_events": transfer.over_events if transfer.loss != "none" else None,
        "num_frames": transfer.num_frames,
        "classes": job.classes,
        "image_size": settings.image_size,
        "batch_size": settings.batch_size,
        "weights_report": image.report,
        "num_seeds": len(outcomes),
        "num_val": len(outcomes[0].split.val),
        "num_locations": len({pair.location for pair in job.pairs if pair.key in job.usable}),
        "training": how_trained(settings),
        "seeds": [outcome.record() for outcome in outcomes],
    }


def write_pair_predictions(job: TransferJob, outcomes: Sequence[Outcome[PairSplit]]) -> None:
    """`predictions.csv`: of each test pair of each seed its class, the predicted one, and the probabilities of both."""
    rows: list[list[object]] = []
    for outcome in outcomes:
        for pair, row in zip(outcome.split.test, outcome.probabilities, strict=True):
            best = int(row.argmax())
            names = (job.classes[pair.label], job.classes[best])
            rows.append([outcome.seed, pair.key, pair.location, *names, f"{row[pair.label]:.6f}", f"{row[best]:.6f}"])
    header = ["seed", "key", "location", "class", "predicted", "probability_of_class", "probability_of_predicted"]
    write_predictions(job.settings.out, header, rows)


def write_transfer_pictures(job: TransferJob, outcome: Outcome[PairSplit], events: NDArray[np.float32] | None) -> None:
    """Of the first seed: the confusion matrix, mistakes, sound events by scene, and where the scene is seen."""
    settings, pairs = job.settings, outcome.split.test
    items = [pair.image_item for pair in pairs]
    write_pictures(settings.out, items, job.classes, outcome.probabilities)
    if events is not None:
        labels = np.array([pair.label for pair in pairs])
        write_event_map(settings.out, events, labels, job.classes, seed=outcome.seed)
    if settings.explain and settings.transfer.modality == "sound":
        distributed.print_once("explain has no effect under transfer.modality sound: no image is seen")
    elif settings.explain:
        _explain(job, items, outcome)


def _explain(job: TransferJob, items: list[SceneItem], outcome: Outcome[PairSplit]) -> None:
    """Class activation maps as in Fig. 7 of the paper, each with the sound of its pair."""
    settings, device = seed_settings(job.settings)[0], job.accelerator.device
    teacher = teacher_of(settings)
    statistics = band_statistics(teacher, job.sounds, outcome.split)
    encoders = (image_encoder(settings), sound_backbone(settings, teacher), teacher)
    network = SeenAndHeard(*encoders, statistics, len(job.classes), settings.transfer)
    read_classifier(settings.out, network.to(device)).eval()

    def classifier(item: SceneItem) -> SceneClassifier:
        return network.classifier_beside(job.sounds.tensor([item.key])[0].to(device))

    view = WholeImage(settings.image_size)
    write_activation_maps(job.settings.out, classifier, items, view, job.classes, settings.explain, device)
