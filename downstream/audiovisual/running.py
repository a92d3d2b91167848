"""Audiovisual scene recognition: logistic regression on frozen embeddings of image, sound and both."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from downstream.audiovisual.benchmark import AudiovisualBenchmark, AudiovisualData, ScenePair
from downstream.audiovisual.draws import INPUTS, Draw, fit_draw, sentences, summarise
from downstream.audiovisual.kind import AudiovisualSettings
from downstream.audiovisual.pair_embeddings import embed_pairs, load_embeddings, save_embeddings
from downstream.audiovisual.pair_views import CentralView, PairView, WholeView
from downstream.audiovisual.splits import SPLIT_NAMES, SPLIT_SEEDS, SPLITS, describe_leak, leaks
from downstream.audiovisual.towers import load_towers, prepare_for_whole_inputs, spectrogram_of
from downstream.results import RESULTS_NAME, Results, write_predictions
from downstream.running.logistic import REGULARISATION_GRID, Fitted, Labelled, fit_logistic, fit_plain
from downstream.running.pictures import write_pictures
from pretrain import distributed
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.preemption import PreemptionWatch
from pretrain.settings.files import save_settings
from pretrain.training.embedding import PairEmbeddings
from pretrain.training.run_folder import CONFIG_NAME
from pretrain.training.tracking import Tracking
from pretrain.training.validation import as_paths
from pretrain.weights.identity import weights_sha256
from shards.errors import UserError
from shards.progress import ProgressLine
from shards.schema import SpectrogramSettings

BATCH_SIZE = 32
EMBEDDINGS_NAME = "embeddings.npz"


def run_audiovisual(
    benchmark: AudiovisualBenchmark,
    settings: AudiovisualSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> bool:
    """Runs a benchmark of pairs and writes `results.json`, `predictions.csv`, `embeddings.npz` and pictures.

    Most of the time is spent on embedding; a run that is interrupted later resumes from `embeddings.npz`.

    Returns:
        Whether it finished.

    Raises:
        UserError: data, weights and settings don't match.
    """
    started = time.monotonic()
    data = check_audiovisual(benchmark, settings)
    checksum = weights_sha256(settings.weights)
    model = load_towers(settings).to(accelerator.device)
    rasters = model.config.rasters.with_bands(settings.bands)
    data = dataclasses.replace(data, pairs=[dataclasses.replace(pair, rasters=rasters) for pair in data.pairs])
    spectrogram = spectrogram_of(model, settings.weights, force=settings.force)
    view = _view(benchmark, settings, model, spectrogram)
    settings = dataclasses.replace(settings, batch_size=settings.batch_size or BATCH_SIZE, image_size=view.image_size)
    if distributed.is_first():
        save_settings(settings, settings.out / CONFIG_NAME)
    _announce(settings, data)
    embedded = _embeddings(model, data.pairs, view, settings, preemption, resume=resume)
    if embedded is None:
        return False
    results = None
    if distributed.is_first():
        results = _score(settings, data, *embedded, model.config, view)
        results.weights_sha256, results.seconds = checksum, round(time.monotonic() - started, 1)
        results.write(settings.out)
        for sentence in sentences(results.epochs[0]):
            distributed.print_once(sentence)
        distributed.print_once(f"results: {settings.out / RESULTS_NAME}")
    results = distributed.from_first(results)
    assert results is not None
    _track(settings, results)
    return True


def _view(
    benchmark: AudiovisualBenchmark, settings: AudiovisualSettings, model: TwoTower, spectrogram: SpectrogramSettings
) -> PairView:
    """What the towers are shown under the protocol.

    Raises:
        UserError: the protocol shows whole images and sounds, and the encoders take one size only.
    """
    if settings.protocol != "paper":
        return CentralView(settings.image_size or model.config.image_size, spectrogram, model.config.num_frames)
    view = WholeView(settings.image_size or benchmark.whole_image_size, spectrogram, model.config.num_frames)
    prepare_for_whole_inputs(model, view.image_size)
    return view


def _fit(settings: AudiovisualSettings, config: TwoTowerConfig) -> Callable[[Labelled, Labelled], Fitted]:
    """How a regression is fitted under the protocol."""
    if settings.protocol != "paper":
        return fit_logistic
    return partial(
        fit_plain, penalised=settings.penalty == "l2" or (settings.penalty == "auto" and not config.on_sphere)
    )


def _announce(settings: AudiovisualSettings, data: AudiovisualData) -> None:
    distributed.note_once(f"{len(data.pairs)} pairs of {len(data.classes)} classes; split {settings.split}")
    for name, leak in leaks(data.pairs).items():
        distributed.print_once(describe_leak(name, leak))
    for sentence in data.missing:
        distributed.print_once(sentence)


def check_audiovisual(benchmark: AudiovisualBenchmark, settings: AudiovisualSettings) -> AudiovisualData:
    """Loads the data.

    Raises:
        UserError: the data are missing or incomplete, or can't be split.
    """
    data = benchmark.load(settings.root, allow_partial=settings.allow_partial)
    _draws(settings, data.pairs)
    return data


def _embeddings(
    model: TwoTower,
    pairs: list[ScenePair],
    view: PairView,
    settings: AudiovisualSettings,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> tuple[PairEmbeddings, list[str]] | None:
    path = settings.out / EMBEDDINGS_NAME
    stored = load_embeddings(path) if resume else None
    if distributed.from_first(stored is not None and len(stored[0].keys) + len(stored[1]) == len(pairs)):
        return stored
    embedded = embed_pairs(
        model,
        pairs,
        view,
        batch_size=settings.batch_size,
        workers=settings.workers,
        precision=settings.precision,
        max_corrupt=settings.max_corrupt,
        should_stop=preemption.is_requested,
    )
    if embedded is not None and distributed.is_first():
        save_embeddings(path, *embedded)
    return embedded


def _draws(settings: AudiovisualSettings, pairs: list[ScenePair]) -> list[Draw]:
    return [Draw(seed, SPLITS[settings.split](pairs, seed)) for seed in SPLIT_SEEDS]


def _score(
    settings: AudiovisualSettings,
    data: AudiovisualData,
    embeddings: PairEmbeddings,
    faults: list[str],
    config: TwoTowerConfig,
    view: PairView,
) -> Results:
    """Fits and scores all splits, and writes predictions and pictures."""
    if not (np.isfinite(embeddings.image).all() and np.isfinite(embeddings.sound).all()):
        raise UserError(f"embeddings of weights {settings.weights} are not finite; use other weights")
    embedded = set(embeddings.keys)
    pairs = [pair for pair in data.pairs if pair.key in embedded]
    draws = _draws(settings, pairs)
    fit = _fit(settings, config)
    with ProgressLine("fitting", len(draws)) as progress:
        for draw in draws:
            fit_draw(draw, embeddings, len(data.classes), fit)
            progress.advance()
    _write_predictions(settings.out, draws, data.classes)
    first = draws[0]
    items = [pair.image_item for pair in first.split.test]
    write_pictures(settings.out, items, data.classes, first.probabilities["concatenation"])
    notes = [*data.missing, *(f"not used: {fault}" for fault in faults)]
    if any(not fitted.converged for draw in draws for fitted in draw.fitted.values()):
        notes.append("a regression did not converge")
    if config.spectrogram != view.spectrogram:
        theirs, ours = config.spectrogram.scale.name, view.spectrogram.scale.name
        notes.append(
            "forced: the sound tower was trained on spectrograms of another kind"
            + (f"; the scale was converted, {ours} to {theirs}" if theirs != ours else "")
        )
    return Results(
        benchmark=settings.benchmark,
        weights=settings.weights,
        backbone=config.image_encoder,
        protocol=settings.protocol,
        num_train=len(first.split.train),
        num_test=len(first.split.test),
        epochs=[{"epoch": 0, **summarise(draws)}],
        seconds=0.0,
        head_on="embedding",
        seed=settings.seed,
        split=SPLIT_NAMES[settings.split],
        train_fraction=len(first.split.train) / len(pairs),
        notes=notes,
        details={
            "classes": data.classes,
            "image_size": view.image_size,
            "num_seeds": len(draws),
            "num_val": len(first.split.val),
            "num_locations": len({pair.location for pair in pairs}),
            "split": settings.split,
            "test_clips_sharing_a_recording_with_training": leaks(pairs),
            "view": view.words,
            **({"grid": {"C": list(REGULARISATION_GRID)}} if settings.protocol != "paper" else {}),
            "seeds": [draw.record() for draw in draws],
        },
    )


def _track(settings: AudiovisualSettings, results: Results) -> None:
    """Logs the scores and `results.json` to the experiment tracker."""
    tracking = Tracking(settings, settings.out)
    scores = {name: values for name, values in results.epochs[0].items() if name != "epoch"}
    tracking.log(as_paths("test", scores), step=0)
    tracking.log_file(settings.out / RESULTS_NAME)
    tracking.finish()


def _write_predictions(folder: Path, draws: list[Draw], classes: list[str]) -> None:
    """Writes `predictions.csv`: for each test clip of each split, its class and the class predicted from each input."""
    rows: list[list[object]] = []
    for draw in draws:
        for i, pair in enumerate(draw.split.test):
            predicted = [classes[int(draw.probabilities[name][i].argmax())] for name in INPUTS]
            rows.append([draw.seed, pair.key, pair.location, classes[pair.label], *predicted])
    write_predictions(folder, ["split_seed", "key", "location", "class", *INPUTS], rows)
