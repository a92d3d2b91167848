"""The loader alone: what a pair costs one core, by stage, and pairs a second with workers, beside the authors' form."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.authors_loader import (
    CROP_PIXELS,
    NUM_FRAMES,
    PairFiles,
    authors_batches,
    decode_image,
    decode_spectrogram,
    one_thread,
)
from benchmarks.checkouts import BEFORE
from benchmarks.corpus import TILE_PIXELS, Corpus, Workplace
from benchmarks.measuring import alone, fastest
from benchmarks.results import Figure, Row, Target

from pretrain.data.audio_transforms import random_crop_start
from pretrain.data.batches import BatchLayout, TrainingBatches, training_loader
from pretrain.data.image_transforms import RandomImageView
from pretrain.data.seeds import sample_seed
from pretrain.presets import PRESETS
from pretrain.settings.pretraining import Config
from shards.decoding.jpeg_parts import decode_part, image_shape
from shards.schema import TRAIN_SPLIT
from shards.streaming.decoded_images import DecodedImages
from shards.streaming.reading import ShardSet

SUITE = "loader"
IS_RUN_BY_BOTH = True
OURS, KEPT, THEIRS = "ours, one core", "ours, decoded images kept, one core", "authors' form, one core"
COST = "cpu_ms_a_pair"
STAGES = ("read bytes", "decode image", "augment", "read spectrogram", "batch and the rest")
PRESET = "tuned-resnet18"
MEL_BYTES_A_FRAME = 128

TARGETS = (
    Target(
        "authors' form / ours, time of one core a pair", Figure(SUITE, THEIRS, COST), Figure(SUITE, OURS, COST), 4, 16
    ),
    Target("authors' form / ours with decoded images kept", Figure(SUITE, THEIRS, COST), Figure(SUITE, KEPT, COST), 16),
    Target("ours with decoded images kept", Figure(SUITE, KEPT, COST), None, 0.55, at_most=True, unit="ms"),
    Target(
        "time of one core a pair, with decoded images kept / --against",
        Figure(SUITE, KEPT, COST),
        Figure(SUITE, OURS + BEFORE, COST),
        1 / 2,
        at_most=True,
    ),
)


def stage_seconds(row: Row) -> dict[str, float]:
    """Seconds that one core spends on each stage of a pair."""
    return {stage: float(row.figures[f"{stage}, ms"] or 0) / 1000 for stage in STAGES}


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Both loaders on one core by stage, then with 0, 1 and 2 workers."""
    corpus, batch_size = place.corpus, 8 if place.quick else 64
    num_batches, repeats = (2, 2) if place.quick else (4, 7)
    alike = (corpus, batch_size, num_batches, repeats)
    rows = [
        Row(SUITE, OURS, alone(our_core, *alike)),
        Row(SUITE, KEPT, alone(our_core_with_kept_images, place.folder / "decoded", *alike)),
        Row(SUITE, THEIRS, {**alone(authors_core, *alike), "tiles": place.tiles}),
    ]
    for workers in (0, 1) if place.quick else (0, 1, 2):
        for name, open_batches in (("ours", our_batches), ("authors' form", open_authors_batches)):
            rate = alone(pairs_per_second, open_batches, corpus, batch_size, workers, num_batches, repeats)
            figures = {"pairs_per_second": rate, "pairs_per_second_a_worker": rate / max(1, workers)}
            rows.append(Row(SUITE, f"{name}, {workers} worker{'' if workers == 1 else 's'}", figures))
    return rows


def our_batches(corpus: Corpus, batch_size: int, workers: int) -> Iterator[Any]:
    """The trainer's own batches, without end, under the preset's settings."""
    return batches_of(ShardSet.open(corpus.shards), batch_size, workers)


def batches_of(shard_set: ShardSet, batch_size: int, workers: int) -> Iterator[Any]:
    """The same of an open shard set."""
    layout = BatchLayout(batch_size)
    batches = TrainingBatches(shard_set, our_config(batch_size), layout, rank=0, first_step=0, last_step=10**9)
    return iter(training_loader(batches, workers=workers, pin_memory=False))


def our_config(batch_size: int) -> Config:
    """The preset's settings of data, and another batch."""
    return replace(PRESETS[PRESET], batch_size=batch_size)


def open_authors_batches(corpus: Corpus, batch_size: int, workers: int) -> Iterator[Any]:
    """The rival's batches, without end."""
    return authors_batches(PairFiles(corpus.root, corpus.keys, our_config(batch_size).data), batch_size, workers)


def pairs_per_second(
    open_batches: Callable[[Corpus, int, int], Iterator[Any]],
    corpus: Corpus,
    batch_size: int,
    workers: int,
    num_batches: int,
    repeats: int,
) -> float:
    """Pairs a second in the fastest of a few stretches, once all workers are at work and ahead as far as they go."""
    one_thread()
    batches = open_batches(corpus, batch_size, workers)
    for _ in islice(batches, 3 * max(1, workers)):
        pass
    stretch = num_batches * max(1, workers)
    return stretch * batch_size / fastest(lambda: list(islice(batches, stretch)), repeats)


def our_core(corpus: Corpus, batch_size: int, num_batches: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of one core that a pair costs, by stage, and bytes."""
    one_thread()
    config, view = our_config(batch_size), RandomImageView(our_config(batch_size).data)
    shard_set = ShardSet.open(corpus.shards)
    samples = [shard_set.sample("train", number) for number in range(min(batch_size, len(corpus.keys)))]
    seeds = [sample_seed(config.seed, 0, sample.key) for sample in samples]
    jpegs = [sample.image_bytes() for sample in samples]
    boxes = [view.crop(*image_shape(jpeg), seed) for jpeg, seed in zip(jpegs, seeds, strict=True)]
    parts = [decode_part(jpeg, box) for jpeg, box in zip(jpegs, boxes, strict=True)]
    num_frames = config.data.num_frames
    stages = {
        "read bytes": lambda: [sample.image_bytes() for sample in samples],
        "decode image": lambda: [
            decode_part(jpeg, view.crop(*image_shape(jpeg), seed)) for jpeg, seed in zip(jpegs, seeds, strict=True)
        ],
        "augment": lambda: [view.of_crop(part, seed) for part, seed in zip(parts, seeds, strict=True)],
        "read spectrogram": lambda: [
            sample.frames(random_crop_start(sample.num_frames, num_frames, seed), num_frames)
            for sample, seed in zip(samples, seeds, strict=True)
        ],
    }
    whole = core_seconds(our_batches(corpus, batch_size, 0), num_batches, repeats) / batch_size
    used = [
        len(jpeg) * (box.height * box.width) / np.prod(image_shape(jpeg))
        for jpeg, box in zip(jpegs, boxes, strict=True)
    ]
    sound_bytes = num_frames * MEL_BYTES_A_FRAME
    return by_stage(stages, len(samples), whole, repeats) | {
        "bytes_read": float(np.mean([len(jpeg) for jpeg in jpegs])) + sound_bytes,
        # What is stored of that part of the picture and of the sound that the networks are shown.
        "bytes_used": float(np.mean(used)) + sound_bytes,
    }


def our_core_with_kept_images(
    folder: Path, corpus: Corpus, batch_size: int, num_batches: int, repeats: int
) -> dict[str, Any]:
    """The same as `our_core`, as a whole, with `--data.decoded-dir` and after the first epoch."""
    one_thread()
    folder.mkdir()
    shard_set = ShardSet.open(corpus.shards)
    shard_set.decoded = DecodedImages(folder, least_free=0)
    for sample in shard_set.samples(TRAIN_SPLIT):
        sample.image()
    seconds = core_seconds(batches_of(shard_set, batch_size, 0), num_batches, repeats) / batch_size
    return {COST: 1000 * seconds, "pairs_per_second": 1 / seconds}


def authors_core(corpus: Corpus, batch_size: int, num_batches: int, repeats: int) -> dict[str, Any]:
    """The same of the rival."""
    one_thread()
    pairs = PairFiles(corpus.root, corpus.keys, our_config(batch_size).data)
    paths = [pairs.paths(key) for key in corpus.keys[:batch_size]]
    read = [(image.read_bytes(), sound.read_bytes()) for image, sound in paths]
    images = [decode_image(BytesIO(image)) for image, _ in read]
    stages = {
        "read bytes": lambda: [(image.read_bytes(), sound.read_bytes()) for image, sound in paths],
        "decode image": lambda: [decode_image(BytesIO(image)) for image, _ in read],
        "augment": lambda: [pairs.view(image) for image in images],
        "read spectrogram": lambda: [pairs.frames(decode_spectrogram(BytesIO(sound))) for _, sound in read],
    }
    whole = core_seconds(authors_batches(pairs, batch_size, 0), num_batches, repeats) / batch_size
    crop_pixels = np.mean([side**2 for side in range(CROP_PIXELS[0], CROP_PIXELS[1] + 1)])
    image_bytes, sound_bytes = (float(np.mean([len(jpegs[kind]) for jpegs in read])) for kind in (0, 1))
    frames = decode_spectrogram(BytesIO(read[0][1])).shape[1]
    return by_stage(stages, len(read), whole, repeats) | {
        "bytes_read": image_bytes + sound_bytes,
        "bytes_used": image_bytes * float(crop_pixels) / TILE_PIXELS**2 + sound_bytes * NUM_FRAMES / frames,
    }


def core_seconds(batches: Iterator[Any], num_batches: int, repeats: int) -> float:
    """Seconds of one core that a batch costs in this process."""
    next(batches)
    return fastest(lambda: list(islice(batches, num_batches)), repeats, time.process_time) / num_batches


def by_stage(
    stages: dict[str, Callable[[], object]], num_pairs: int, whole_seconds: float, repeats: int
) -> dict[str, Any]:
    """Milliseconds of one core a pair: of the whole, and of each stage alone on the same pairs."""
    found = {name: fastest(action, repeats, time.process_time) / num_pairs for name, action in stages.items()}
    found[STAGES[-1]] = max(0.0, whole_seconds - sum(found.values()))
    return {
        COST: 1000 * whole_seconds,
        "pairs_per_second": 1 / whole_seconds,
        **{f"{name}, ms": 1000 * found[name] for name in STAGES},
    }
