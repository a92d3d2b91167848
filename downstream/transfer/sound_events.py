"""A tagger of sound events trained on labelled sounds: the teacher of advance-transfer where none is available."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from accelerate import Accelerator

from downstream.audiovisual.splits import SPLIT_NAMES, SPLITS
from downstream.results import RESULTS_NAME, Results
from downstream.running import splits
from downstream.running.predictions import write_scene_predictions
from downstream.running.seeded_runs import (
    Outcome,
    scores_of,
    seed_settings,
    track,
    train,
)
from downstream.running.splits import Split
from downstream.settings import how_trained
from downstream.transfer.benchmark import SoundEvents, SoundEventsBenchmark
from downstream.transfer.event_tagger import read_teacher
from downstream.transfer.event_tagging import SoundEventTagging
from downstream.transfer.heard_sounds import HeardSounds, hear
from downstream.transfer.kind import SoundEventSettings
from downstream.transfer.settings import SOUND_STRIDE
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.settings.files import save_settings
from pretrain.training.run_folder import CONFIG_NAME
from shards.errors import UserError

BACKBONE: Literal["resnet50"] = "resnet50"
TRAIN_AND_VAL, VAL_OF_THEM = 0.9, 1 / 9
"""Of a folder of classes 80 % train, 10 % are to choose by, and 10 % test."""


def run_sound_events(
    benchmark: SoundEventsBenchmark,
    settings: SoundEventSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,  # noqa: ARG001  # existing results are found without it
) -> bool:
    """Trains a tagger of each seed into `OUT/seed-<seed>/model/`, and writes `results.json`.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: data and settings don't fit together.
    """
    data = check_sound_events(benchmark, settings)
    backbone = BACKBONE if settings.backbone == "auto" else settings.backbone
    transfer = dataclasses.replace(settings.transfer, sound_stride=settings.transfer.sound_stride or SOUND_STRIDE)
    settings = dataclasses.replace(settings, backbone=backbone, transfer=transfer)
    if distributed.is_first():
        save_settings(settings, settings.out / CONFIG_NAME)
    sounds, faults = hear(
        [(item.key, item.path) for item in data.items],
        settings.transfer.num_frames,
        threads=max(1, settings.workers),
        max_corrupt=settings.max_corrupt,
    )
    notes = [*data.missing, *(f"not used: {fault}" for fault in faults)]
    for sentence in notes:
        distributed.print_once(sentence)
    outcomes = []
    for own in seed_settings(settings):
        outcome = _run_seed(data, sounds, own, accelerator, preemption)
        if outcome is None:
            return False
        outcomes.append(outcome)
    _finish(settings, data, outcomes, notes)
    return True


def check_sound_events(benchmark: SoundEventsBenchmark, settings: SoundEventSettings) -> SoundEvents:
    """Finds the data.

    Raises:
        UserError: they are missing or not whole, or weights are given.
    """
    if settings.weights != "random":
        raise UserError(
            f"weights must be random for {settings.benchmark}, which tries no other weights, got {settings.weights}; "
            "train the tagger by `downstream/run.py sound-events`, and name it as transfer.teacher of advance-transfer"
        )
    return benchmark.load(settings.root, settings.transfer, allow_partial=settings.allow_partial)


def _finish(
    settings: SoundEventSettings,
    data: SoundEvents,
    outcomes: list[Outcome[Split]],
    notes: list[str],
) -> None:
    results = _results(settings, data, outcomes, notes)
    if distributed.is_first():
        write_scene_predictions(settings.out, outcomes[0].split, data.classes, outcomes[0].probabilities)
        results.write(settings.out)  # last, for a run that has it is finished
        last = results.epochs[-1]
        distributed.print_once(
            f"mean average precision {last['mean_average_precision']:.4f}, accuracy {last['accuracy']:.4f}; results: "
            f"{settings.out / RESULTS_NAME}"
        )
    track(settings, results)


def split_events(data: SoundEvents, heard: Mapping[str, int], kind: str, seed: int) -> Split:
    """The sounds that could be decoded, by their use.

    Those of pairs are divided as advance-transfer divides the pairs under the same split and seed: so no sound that a
    teacher learned from is in the test part of its pupil, and under `grouped` no recording either.
    """
    items = {item.key: item for item in data.items if item.key in heard}
    if data.pairs is None:
        drawn = splits.stratified_split(list(items.values()), TRAIN_AND_VAL, seed, val_fraction=VAL_OF_THEM)
        return dataclasses.replace(drawn, name="80/10/10 % of each class")
    drawn_pairs = SPLITS[kind](data.pairs, seed)
    train, val, test = (
        [items[key] for pair in part if (key := data.sound_of_pair.get(pair.key)) in items]
        for part in (drawn_pairs.train, drawn_pairs.val, drawn_pairs.test)
    )
    return Split(train, test, val, SPLIT_NAMES[kind])


def _run_seed(
    data: SoundEvents,
    sounds: HeardSounds,
    settings: SoundEventSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
) -> Outcome[Split] | None:
    split = split_events(data, sounds.row, settings.split, settings.seed)

    def task() -> SoundEventTagging:
        return SoundEventTagging(settings, accelerator, sounds, data.classes, split)

    summary = train(task, settings, accelerator, preemption)
    if summary is None:
        return None
    # A new one: an engine may have taken the trained module apart.
    best, kept = task(), read_teacher(settings.out)
    kept.load_encoder(best.module.trunk)
    kept.load_head(best.module.fc)
    probabilities, scores = best.score(best.module, "test")
    return Outcome(settings.seed, split, probabilities, scores, summary)


def _results(
    settings: SoundEventSettings, data: SoundEvents, outcomes: list[Outcome[Split]], notes: list[str]
) -> Results:
    split = outcomes[0].split
    return Results(
        benchmark=settings.benchmark,
        weights=settings.weights,
        backbone=settings.backbone,
        protocol=settings.protocol,
        num_train=len(split.train),
        num_test=len(split.test),
        epochs=scores_of(outcomes, settings.epochs),
        seconds=round(sum(outcome.summary["seconds"] for outcome in outcomes), 1),
        head_on="trunk",
        seed=settings.seed,
        split=split.name,
        train_fraction=len(split.train) / (split.num_labelled + len(split.test)),
        notes=notes,
        details={
            "classes": data.classes,
            "num_seeds": len(outcomes),
            "num_val": len(split.val),
            "num_frames": settings.transfer.num_frames,
            "training": how_trained(settings),
            "seeds": [outcome.record() for outcome in outcomes],
        },
    )
