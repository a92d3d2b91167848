"""A land-cover benchmark from its folder to its results."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from downstream.landcover.benchmark import LandCoverBenchmark, LandCoverData, LandCoverSplit
from downstream.landcover.decoded_tiles import DecodedTiles, decoded_tiles
from downstream.landcover.exhibits import write_panels
from downstream.landcover.kind import LandCoverSettings
from downstream.landcover.maps import MappedTile
from downstream.landcover.pictures import draw_class_confusion, draw_tile, spread_by_accuracy
from downstream.landcover.scores import class_ious
from downstream.landcover.segmentation import LandCoverMapping
from downstream.landcover.tiles import SurveyedTile, class_shares, read_tile, survey_tiles
from downstream.results import Results, write_predictions
from downstream.running.classifier_files import read_classifier
from downstream.running.training import scores_by_epoch, train_to_end
from downstream.settings import how_trained
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder

PICTURES_FOLDER = "tiles"
MAX_PICTURES = 24


def run_landcover(
    benchmark: LandCoverBenchmark,
    settings: LandCoverSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> bool:
    """Runs a land-cover benchmark, and writes `results.json`, `predictions.csv`, `confusion_matrix.png`, `tiles/`
    and `maps/`.

    DeepLabv3+ is trained as SoundingEarth's authors did (section V-C): Adam 1e-3, 5 epochs, batch 16, patches
    of 512 pixels with stride 347, no augmentation; whole tiles are scored after each epoch.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: data, weights and settings don't fit together.
    """
    data = check_landcover(benchmark, settings)
    settings = resolved(benchmark, settings)
    # Before all tiles are read, so that a mistyped path is reported at once.
    encoder = load_encoder(
        settings.weights, backbone=settings.backbone, imagenet_file=settings.imagenet_file, seed=settings.seed
    )
    distributed.note_once(f"weights: {encoder.report}")
    rasters = encoder.rasters.with_bands(settings.bands)
    tiles = [dataclasses.replace(tile, rasters=rasters) for tile in data.tiles]
    with decoded_tiles(settings.out, benchmark.classes) as decoded:
        data = dataclasses.replace(data, tiles=tiles)
        return _run_on(data, decoded, benchmark, settings, encoder, accelerator, preemption, resume=resume)


def _run_on(
    data: LandCoverData,
    decoded: DecodedTiles,
    benchmark: LandCoverBenchmark,
    settings: LandCoverSettings,
    encoder: LoadedEncoder,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,
) -> bool:
    tiles, faults = survey_tiles(
        data.tiles,
        benchmark.classes,
        max_corrupt=settings.max_corrupt,
        threads=max(1, settings.workers),
        keep=decoded.keep,
    )
    if (kept := decoded.num_kept()) < len(tiles):
        distributed.print_once(
            f"the disk has room for {kept} of {len(tiles)} decoded tiles; the others are decoded for every patch"
        )
    surveyed = {found.tile.key: found for found in tiles}
    split = benchmark.split([found.tile for found in tiles], settings.val_ids)
    notes = [*data.missing, *(f"not used: {fault}" for fault in faults)]
    for note in notes:
        distributed.print_once(note)
    train, val = ([surveyed[tile.key] for tile in part] for part in (split.train, split.val))
    task = LandCoverMapping(settings, accelerator, encoder, decoded, train, val)
    summary = train_to_end(task, accelerator, preemption, started=resume)
    if summary is None:
        return False
    if not task.mapped:
        # Trained before it was interrupted: the last model is scored again.
        task.evaluate(read_classifier(settings.out, task.module).eval())
    if distributed.is_first():
        results = _results(settings, encoder, split, train, task, notes, summary["seconds"])
        write_tile_predictions(settings, benchmark, task.mapped)
        _draw(settings, benchmark, task.mapped)
        write_panels(settings.out, task.mapped, benchmark.classes)
        results.write(settings.out)
        distributed.print_once(f"results: {settings.out / 'results.json'}; tiles: {settings.out / PICTURES_FOLDER}")
    return True


def check_landcover(benchmark: LandCoverBenchmark, settings: LandCoverSettings) -> LandCoverData:
    """Finds the data.

    Raises:
        UserError: they are missing, not whole, or can't be divided into training and validation tiles.
    """
    data = benchmark.load(settings.root, allow_partial=settings.allow_partial)
    benchmark.split(data.tiles, settings.val_ids)
    return data


def resolved(benchmark: LandCoverBenchmark, settings: LandCoverSettings) -> LandCoverSettings:
    """The settings with the benchmark's own values where none are given."""
    return dataclasses.replace(
        settings,
        batch_size=settings.batch_size or benchmark.batch_size,
        image_size=settings.image_size or benchmark.patch_size,
        patch_stride=settings.patch_stride or benchmark.patch_stride,
    )


def _results(
    settings: LandCoverSettings,
    encoder: LoadedEncoder,
    split: LandCoverSplit,
    train: list[SurveyedTile],
    task: LandCoverMapping,
    notes: list[str],
    seconds: float,
) -> Results:
    classes = list(task.classes)
    pooled = np.sum([mapped.confusion for mapped in task.mapped], axis=0)
    details: dict[str, Any] = {
        "classes": classes,
        "confusion_matrix": pooled.tolist(),
        "class_shares_train": class_shares(train, task.classes),
        "num_train_patches": len(task.patches),
        "patch_size": settings.image_size,
        "patch_stride": settings.patch_stride,
        "batch_size": settings.batch_size,
        "atrous_rates": list(task.module.rates),
        "window": settings.window,
        "validation_ids": [tile.key for tile in split.val],
        "weights_report": encoder.report,
        "training": how_trained(settings),
    }
    return Results(
        benchmark=settings.benchmark,
        weights=settings.weights,
        weights_sha256=encoder.weights_sha256,
        backbone=encoder.backbone,
        protocol=settings.protocol,
        num_train=len(split.train),
        num_test=len(split.val),
        epochs=scores_by_epoch(settings.out),
        seconds=round(seconds, 1),
        head_on="trunk",
        seed=settings.seed,
        split=split.name,
        train_fraction=len(split.train) / (len(split.train) + len(split.val)),
        notes=notes,
        details=details,
    )


def write_tile_predictions(
    settings: LandCoverSettings, benchmark: LandCoverBenchmark, mapped: list[MappedTile]
) -> None:
    """`predictions.csv`: of each validation tile its known pixels, its accuracy and each class's IoU.

    A cell is empty where nothing is known, or a class is neither there nor predicted.
    """
    rows: list[list[object]] = []
    for found in mapped:
        values = [found.accuracy, *class_ious(found.confusion)]
        cells = ["" if value is None else f"{value:.6f}" for value in values]
        rows.append([found.tile.key, int(found.confusion.sum()), *cells])
    header = ["tile", "known_pixels", "accuracy", *(f"iou_{name}" for name in benchmark.classes)]
    write_predictions(settings.out, header, rows)


def _draw(settings: LandCoverSettings, benchmark: LandCoverBenchmark, mapped: list[MappedTile]) -> None:
    """`confusion_matrix.png`, and `tiles/<id>.png` of up to `MAX_PICTURES` tiles, evenly from the worst to the best."""
    pooled = np.sum([found.confusion for found in mapped], axis=0)
    draw_class_confusion(pooled, benchmark.classes).save(settings.out / "confusion_matrix.png")
    folder = settings.out / PICTURES_FOLDER
    folder.mkdir(exist_ok=True)
    for number in spread_by_accuracy([found.accuracy for found in mapped], MAX_PICTURES):
        found = mapped[number]
        predicted = np.array(Image.open(io.BytesIO(found.preview)))
        image = read_tile(found.tile, benchmark.classes)
        picture = draw_tile(found.tile.key, image, predicted, found.confusion, benchmark.classes)
        picture.save(folder / f"{found.tile.key}.png")
