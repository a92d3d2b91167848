"""Whole runs on 2 processes beside the same run on 1: the same losses, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import SMALL, accelerate_launch, run, torchrun
from safetensors.torch import load_file

from pretrain.metrics_file import MetricsFile

OPTIONS = [
    *("--epochs", "2", "--model.norm", "group", "--log-every-steps", "1", "--seed", "3"),
    # Small steps: at the first ones Adam blows differences of rounding up to the size of the step.
    *("--optimizer.learning-rate", "1e-4"),
]


def losses(run_folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(run_folder).read() if line["split"] == "train"]


def test_two_processes_train_as_one(tiny_shards: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["demo", "--shards", tiny_shards, *SMALL, *OPTIONS]
    alone = run(accelerate_launch(*words, "--out", one), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    together = run(torchrun(2, *words, "--out", two), cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert together.returncode == 0, together.stderr

    assert "2 processes x 8 pairs" in together.stdout
    assert json.loads((two / "summary.json").read_text())["num_processes"] == 2
    assert len(losses(one)) == 6
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    weights_one, weights_two = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    name = "image_tower.projection.weight"
    assert (weights_one[name] - weights_two[name]).abs().max() < 2e-3
    ranks = [
        [line["mean_rank"] for line in MetricsFile(folder).read() if line["split"] == "val"] for folder in (one, two)
    ]
    assert ranks[0] == pytest.approx(ranks[1], abs=0.5)


def test_a_batch_that_can_not_be_dealt_is_refused(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL, "--batch-size", "15"]
    result = run(torchrun(2, *words), cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert result.returncode != 0
    assert "batch_size must be divisible by processes x optimizer.accumulation = 2 x 1 = 2, got 15" in result.stderr
