"""Heads on stored features of frozen encoders: 50,000 synthetic pairs, 100 epochs, time and memory of the whole run.

The features are random mixtures of a common latent vector, written as the encoders would write them; their encoders
never run. The targets are five minutes and 2 GB on 2 cores.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed
from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target
from numpy.typing import NDArray
from tiny_shards import write_tiny_shards

from pretrain.features.frozen_features import FrozenFeatures
from pretrain.features.store import FeatureStore
from pretrain.methods.audiovisual import Audiovisual
from pretrain.presets import FEW_PAIRS
from pretrain.settings.files import save_settings
from pretrain.settings.pretraining import Config
from shards.streaming.reading import ShardSet

SUITE = "frozen-heads"
REPOSITORY = Path(__file__).resolve().parents[2]
PAIRS, QUICK_PAIRS = 50_000, 130
EPOCHS, QUICK_EPOCHS = 100, 2
LATENT = 32
NOISE = 0.3
CASE = "50,000 pairs, 100 epochs"

TARGETS = (
    Target("seconds of a run", Figure(SUITE, CASE, "seconds"), None, 300.0, at_most=True, unit="s"),
    Target("peak memory of a run", Figure(SUITE, CASE, "peak_gb"), None, 2.0, at_most=True, unit="GB"),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """One run of `few-pairs` on features that are there already."""
    folder = place.folder / SUITE
    num_pairs = QUICK_PAIRS if place.quick else PAIRS
    shards = write_tiny_shards(
        folder / "shards", {"train": num_pairs, "val": num_pairs // 50 + 2, "test": 2}, samples_per_shard=500
    )
    # Encoders of the sizes of few-pairs; random weights, because they only name the features.
    config = replace(
        FEW_PAIRS,
        shards=shards,
        out=folder / "run",
        epochs=QUICK_EPOCHS if place.quick else EPOCHS,
        batch_size=64 if place.quick else 1024,
        tracker="none",
        log_every_steps=50,
        data=replace(
            FEW_PAIRS.data,
            features_dir=folder / "features",
            sound_seconds=3.2,
            feature_views=2,
            image_size=32,
            workers=0,
        ),
        model=replace(
            FEW_PAIRS.model, image_init="random", sound_init="random", sound_encoder="timm:mobilenetv3_small_050"
        ),
    )
    _write_features(config)
    save_settings(config, folder / "config.yaml")
    command = [sys.executable, str(REPOSITORY / "pretrain/run.py"), "--config", str(folder / "config.yaml")]
    command += ["--out", str(config.out)]
    started = time.monotonic()
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, check=True)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    return [Row(SUITE, CASE, {"seconds": round(seconds, 1), "peak_gb": round(peak, 2)})]


def _write_features(config: Config) -> None:
    """Fills the store that the run will look for, with features that share a latent vector."""
    shard_set = ShardSet.open(config.shards)
    set_seed(config.seed)  # as the run does, so that the weights are the same
    method = Audiovisual.from_config(config, shard_set.manifest)  # type: ignore[arg-type]
    features = FrozenFeatures(method.towers, shard_set, config, method.views)
    generator = np.random.default_rng(0)
    towers = {"image": method.towers.image_tower, "sound": method.towers.sound_tower}
    mixing = {
        name: generator.standard_normal((LATENT, tower.num_features)).astype(np.float32)
        for name, tower in towers.items()
    }
    for split, views in (("train", {"image": 2, "sound": 2}), ("val", {"image": 1, "sound": config.validation.crops})):
        store = FeatureStore(features.folder, split, shard_set.num_samples(split))
        shapes = {name: ((views[name], matrix.shape[1]), torch.float32) for name, matrix in mixing.items()}
        store.create(shapes | ({"crops": ((), torch.int64)} if split == "val" else {}))
        for block in store.missing():
            count = len(store.rows(block))
            latent = generator.standard_normal((count, 1, LATENT)).astype(np.float32)
            rows: dict[str, NDArray[np.generic]] = {
                name: (latent + NOISE * generator.standard_normal((count, views[name], LATENT)).astype(np.float32))
                @ matrix
                for name, matrix in mixing.items()
            }
            if split == "val":
                rows["crops"] = np.ones(count, np.int64)
            store.write(block, rows, 0)
