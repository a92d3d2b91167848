"""From JPEG shards to the step: the loader alone, and `pretrain/run.py` as a process, with its share of waiting."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import islice
from typing import Any

from gpu.items import Place
from gpu.jpeg_shards import jpeg_shards
from gpu.pretrain_runs import run_pretraining

BATCH_SIZE, WARM_UP_STEPS, STEPS = 256, 40, 160
SMALL = [
    *("--data.image-size", "32", "--model.sound-pooling", "4", "--precision", "fp32", "--threads", "1"),
    *("--validation.crops", "1"),
]


def resnet18(place: Place) -> dict[str, Any]:
    """The loop of `soundingearth-resnet18`."""
    return time_loop(place, "soundingearth-resnet18")


def resnet50(place: Place) -> dict[str, Any]:
    """The loop of `soundingearth-resnet50`."""
    return time_loop(place, "soundingearth-resnet50")


def sizes(place: Place) -> tuple[int, int, int, int]:
    """Batch, workers, steps before the clock starts, and timed steps."""
    return (BATCH_SIZE, place.cores, WARM_UP_STEPS, STEPS) if place.is_gpu else (16, 1, 2, 4)


def time_loader(place: Place) -> dict[str, Any]:
    """Pairs a second of the trainer's loader alone, a worker a core, as the preset augments them."""
    from pretrain.data.batches import BatchLayout, TrainingBatches, next_batch, training_loader
    from pretrain.presets import PRESETS
    from shards.streaming.reading import ShardSet

    batch_size, workers, warm_up, steps = sizes(place)
    config = replace(PRESETS["soundingearth-resnet18"], batch_size=batch_size)
    shard_set = ShardSet.open(jpeg_shards(place))
    part = {"rank": 0, "first_step": 0, "last_step": warm_up + steps}
    batches = TrainingBatches(shard_set, config, BatchLayout(batch_size), **part)
    stream = iter(training_loader(batches, workers=workers, pin_memory=place.is_gpu))
    for _ in range(warm_up):
        next_batch(stream)
    started = time.perf_counter()
    counted = sum(len(batch["keys"]) for batch in islice(stream, steps))
    return {"pairs_per_second": counted / (time.perf_counter() - started), "workers": workers, "batch": batch_size}


def time_stages(place: Place) -> dict[str, Any]:
    """Milliseconds of one core that each stage of the loader takes for a pair, and all of them together."""
    from benchmarks.corpus import Corpus
    from benchmarks.loader import our_core

    shards = jpeg_shards(place)
    batch_size, num_batches, repeats = (64, 4, 5) if place.is_gpu else (8, 2, 1)
    return our_core(Corpus(shards, shards, [""] * batch_size), batch_size, num_batches, repeats)


def time_loop(place: Place, preset: str) -> dict[str, Any]:
    """Pairs a second and the share of time waiting for data, by the command that a user gives.

    Raises:
        RuntimeError: the run failed.
    """
    from shards.streaming.reading import ShardSet

    batch_size, workers, warm_up, steps = sizes(place)
    shards, out = jpeg_shards(place), place.folder / f"run-{preset}"
    steps_per_epoch = ShardSet.open(shards).num_samples("train") // batch_size
    epochs = -(-(warm_up + steps) // steps_per_epoch)
    words = [preset, "--shards", str(shards), "--out", str(out), "--tracker", "none", "--epochs", str(epochs)]
    words += [
        "--batch-size",
        str(batch_size),
        "--data.workers",
        str(workers),
        "--log-every-steps",
        str(warm_up // 4 or 1),
    ]
    words += ["--validation.every-epochs", "100000", "--checkpoint.every-epochs", "100000"]
    words += ["--optimizer.warmup-epochs", "0", *(SMALL if not place.is_gpu else [])]
    run_pretraining(words)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    return {**rates(lines, batch_size, warm_up), "batch": batch_size, "workers": workers, "device": place.device} | {
        "peak_gib": summary["peak_memory_bytes"] / 2**30
    }


def rates(lines: list[dict[str, Any]], batch_size: int, warm_up: int) -> dict[str, float]:
    """Pairs a second and the share of waiting after the warm-up, from the lines of metrics.jsonl.

    A line covers the steps since the line before it.
    """
    last, pairs, seconds, waited = 0, 0, 0.0, 0.0
    for line in (line for line in lines if line["split"] == "train"):
        if last >= warm_up:
            covered = (line["step"] - last) * batch_size
            pairs, seconds = pairs + covered, seconds + covered / line["pairs_per_second"]
            waited += line["waiting_for_data"] * covered / line["pairs_per_second"]
        last = line["step"]
    return {"pairs_per_second": pairs / seconds, "waiting_share": waited / seconds, "pairs": pairs}
