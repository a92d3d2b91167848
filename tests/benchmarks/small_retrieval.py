"""Retrieval after minutes of training on a few hundred real pairs: Earshot beside a plain script, at equal time.

Shards are built from the recordings, `few-pairs` runs with pre-trained encoders, and pre-training from scratch has the
same seconds as the plain script. Everything is repeated with `SEEDS`. It takes 50 minutes, so it runs only when it is
named: python tests/benchmarks/run.py --only small-retrieval
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target, Value
from tiny_shards import write_tiny_shards

SUITE = "small-retrieval"
IS_LONG = True
REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
PAIRS = SHARED / "data" / "soundscapes"
WEIGHTS = {
    "image": SHARED / "weights" / "tf_efficientnet_lite0-imagenet.safetensors",
    "sound": SHARED / "weights" / "efficientat-mn04-audioset.safetensors",
}
SEEDS, QUICK_SEEDS = range(5), range(1)
SECONDS, QUICK_SECONDS = 240, 2

PLAIN, SCRATCH, FEW_PAIRS = "plain script", "from scratch", "few-pairs"

FROM_SCRATCH = [
    # timm's ResNets start with residual branches of zero (Goyal et al., arXiv 1706.02677, section 5.1), which few steps
    # need more than many; torchvision's don't.
    *("demo", "--model.image-encoder", "timm:resnet18", "--model.sound-encoder", "timm:resnet18"),
    *("--data.hue-degrees", "0", "--data.saturation", "0", "--data.value", "0", "--data.blur-probability", "0"),
    *("--epochs", "100000", "--loss.name", "symmetric-contrastive", "--loss.temperature", "0.2", "--mixing", "1"),
    *("--batch-size", "64", "--data.image-size", "96", "--optimizer.warmup-epochs", "2"),
    *("--optimizer.max-gradient-norm", "5"),
    *("--data.crop-min", "0.7", "--data.crop-max", "1", "--data.rotation-degrees", "0"),
    *("--data.right-angles", "--data.flips", "--optimizer.name", "adamw", "--optimizer.learning-rate", "1e-3"),
    *("--optimizer.weight-decay", "0.01", "--validation.every-epochs", "10", "--checkpoint.every-epochs", "1000"),
]
QUICK = ["--data.image-size", "32", "--batch-size", "16", "--data.workers", "0", "--validation.every-epochs", "100000"]
QUICK_FEW = ["--epochs", "2", "--data.feature-views", "1", "--validation.every-epochs", "2"]

TARGETS = (
    Target(
        "median rank from scratch / plain script, both directions",
        Figure(SUITE, SCRATCH, "mean_rank"),
        Figure(SUITE, PLAIN, "mean_rank"),
        1.0,
        at_most=True,
    ),
    Target(
        "median rank, image → sound",
        Figure(SUITE, FEW_PAIRS, "image_to_sound_rank"),
        None,
        14.0,
        at_most=True,
        unit="of 112",
    ),
    Target(
        "median rank, sound → image",
        Figure(SUITE, FEW_PAIRS, "sound_to_image_rank"),
        None,
        13.0,
        at_most=True,
        unit="of 112",
    ),
    Target("recall@10%, both directions", Figure(SUITE, FEW_PAIRS, "recall_at_10_percent"), None, 0.45, unit=""),
    Target("shards to model", Figure(SUITE, FEW_PAIRS, "seconds"), None, 150.0, at_most=True, unit="s"),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """A row for the plain script, for Earshot from scratch and for `few-pairs`."""
    if not place.quick and not (PAIRS.is_dir() and all(file.is_file() for file in WEIGHTS.values())):
        why_not = "real pairs and released weights are not at ../shared"
        return [Row(SUITE, case, why_not=why_not) for case in (PLAIN, SCRATCH, FEW_PAIRS)]
    folder = place.folder / SUITE
    seeds = QUICK_SEEDS if place.quick else SEEDS
    seconds = QUICK_SECONDS if place.quick else SECONDS
    plain_shards, few_shards = (_shards(folder, name, quick=place.quick) for name in ("earshot-16k", "audioset-32k"))
    init = [] if place.quick else [f"--model.{name}-init={file}" for name, file in WEIGHTS.items()]
    few = ["few-pairs", *(init or ["--model.image-init=random", "--model.sound-init=random"])]
    few += [*QUICK, *QUICK_FEW, "--model.sound-encoder=resnet18"] if place.quick else []
    scratch = [*FROM_SCRATCH, "--max-seconds", str(seconds), *(QUICK if place.quick else [])]
    runs = {
        PLAIN: [_plain(plain_shards, seed, seconds) for seed in seeds],
        SCRATCH: [_earshot(folder, plain_shards, SCRATCH, seed, scratch) for seed in seeds],
        FEW_PAIRS: [_earshot(folder, few_shards, FEW_PAIRS, seed, few) for seed in seeds],
    }
    return [Row(SUITE, case, _means(found)) for case, found in runs.items()]


def _shards(folder: Path, front_end: str, *, quick: bool) -> Path:
    shards = folder / front_end
    if quick:
        return write_tiny_shards(shards, {"train": 64, "val": 16, "test": 24})
    words = ["build", "--source", "recordings", "--root", PAIRS, "--out", shards, "--spectrogram", front_end]
    _run("shards/run.py", *words, "--split-by", "column", "--column", "recording")
    return shards


def _run(script: str, *words: str | Path) -> str:
    command = [sys.executable, str(REPOSITORY / script), *map(str, words)]
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    result = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=True)
    return result.stdout.decode()


def _plain(shards: Path, seed: int, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        _run("tests/benchmarks/plain_script.py", shards, "--seconds", str(seconds), "--seed", str(seed))
    )
    return {**found, "seconds": seconds}


def _earshot(folder: Path, shards: Path, case: str, seed: int, words: list[str]) -> dict[str, Any]:
    out = folder / f"{case.replace(' ', '-')}-{seed}"
    started = time.monotonic()
    _run("pretrain/run.py", *words, "--shards", shards, "--out", out, "--seed", str(seed), "--tracker", "none")
    seconds = time.monotonic() - started
    evaluate = ["evaluate", "--weights", out, "--shards", shards, "--split", "test", "--crops", "10"]
    _run("retrieval/run.py", *evaluate, "--out", out / "retrieval")
    metrics: dict[str, Any] = json.loads((out / "retrieval" / "metrics.json").read_text())
    summary = json.loads((out / "summary.json").read_text())
    return {**metrics, "seconds": seconds, "epochs": summary["epochs"], "peak_gb": summary["peak_memory_bytes"] / 1e9}


def _means(runs: list[dict[str, Any]]) -> dict[str, Value]:
    """Means over the seeds, and standard deviations of the ranks."""
    ranks = {name: [run[name]["median_rank"] for run in runs] for name in ("image_to_sound", "sound_to_image")}
    recalls = [run[name]["recall_at_10_percent"] for run in runs for name in ranks]
    figures: dict[str, Value] = {}
    for name, values in ranks.items():
        figures[f"{name}_rank"] = statistics.fmean(values)
        figures[f"{name}_rank_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    figures["mean_rank"] = statistics.fmean([rank for values in ranks.values() for rank in values])
    figures["recall_at_10_percent"] = statistics.fmean(recalls)
    for name in ("epochs", "seconds", "peak_gb"):
        figures[name] = statistics.fmean(run[name] for run in runs)
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
