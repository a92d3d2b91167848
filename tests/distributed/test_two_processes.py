"""Whole runs on 2 processes beside the same run on 1: the same losses, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import CONSTANT_RATE, SMALL_INPUTS, accelerate_launch, python, run, run_together, torchrun
from safetensors.torch import load_file

from pretrain.losses import LOSSES
from pretrain.training.metrics_file import MetricsFile

OPTIONS = [
    *(
        "--epochs",
        "2",
        "--model.norm",
        "group",
        "--log-every-steps",
        "1",
        "--seed",
        "3",
        "--checkpoint.every-epochs",
        "1",
    ),
    # Small steps: at the first ones Adam blows differences of rounding up to the size of the step.
    *("--optimizer.learning-rate", "1e-4"),
]


def checkpoint_weights(run_folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run_folder / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def losses(run_folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(run_folder).read() if line["split"] == "train"]


def world(run_folder: Path) -> tuple[int, str]:
    """The processes that a run ended with, and how they were joined."""
    summary = json.loads((run_folder / "summary.json").read_text())
    return summary["num_processes"], summary["distributed_type"]


def train(words: list[str | Path], processes: int, cwd: Path) -> None:
    command = python("pretrain/run.py", *words)
    result = run_together(command, processes=processes, cwd=cwd, ACCELERATE_USE_CPU="true")
    assert result.returncode == 0, result.stderr


def test_two_processes_train_as_one(tiny_shards: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS]
    alone = run(accelerate_launch(*words, "--out", one), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    together = run(torchrun(2, *words, "--out", two), cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert together.returncode == 0, together.stderr

    assert "2 processes x 8 pairs" in together.stdout
    assert world(two) == (2, "MULTI_CPU")
    assert world(one) == (1, "NO")
    assert len(losses(one)) == 6
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    # The weights part by a small share of the way that they went. (That gradients are equal, also in scale, which
    # Adam would hide, is shown in test_gather.)
    begun = checkpoint_weights(one, step=3)
    ended = checkpoint_weights(one, step=6)
    name = "towers.image_tower.trunk.layer1.0.conv1.weight"
    way = (ended[name] - begun[name]).norm()
    assert way > 0
    assert (checkpoint_weights(two, step=6)[name] - ended[name]).norm() < 0.2 * way
    ranks = [
        [line["mean_rank"] for line in MetricsFile(folder).read() if line["split"] == "val"] for folder in (one, two)
    ]
    assert ranks[0] == pytest.approx(ranks[1], abs=0.5)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_in_chunks(tiny_shards: Path, tmp_path: Path) -> None:
    # One epoch each on 1 process, on 2, and on 1, against three on 1; the learning rate is constant.
    # On 2 processes in chunks of 3 of their 8 pairs under straight's loss: the embedding cache over processes.
    words = ["--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, *CONSTANT_RATE]
    straight, changing, chunked = tmp_path / "straight", tmp_path / "changing", tmp_path / "chunked"
    for processes, options in (
        (1, ["demo", *words, "--epochs", "3", "--out", straight]),
        (1, ["demo", *words, "--epochs", "1", "--out", changing]),
        (2, ["--resume", changing, "--epochs", "2"]),
        (1, ["--resume", changing, "--epochs", "3"]),
        (2, ["demo", *words, "--epochs", "3", "--optimizer.chunk-size", "3", "--out", chunked]),
    ):
        train(options, processes, tmp_path)
    assert len(losses(straight)) == 9
    assert losses(changing) == pytest.approx(losses(straight), rel=5e-4)
    assert world(chunked) == (2, "MULTI_CPU")
    assert losses(chunked) == pytest.approx(losses(straight), rel=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        *([name] for name in sorted(set(LOSSES) - {"batch-triplet"})),
        ["symmetric-contrastive", "--loss.queue-size", "20", "--loss.negatives-from-km", "300"],
    ],
    ids=" ".join,
)
def test_every_loss_sees_the_global_batch(loss: list[str], tiny_shards: Path, tmp_path: Path) -> None:
    # 2 processes in chunks of 3 of their 8 pairs; some of these losses have weights of their own.
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, *CONSTANT_RATE, "--loss.name", *loss]
    one, two = tmp_path / "one", tmp_path / "two"
    train([*words, "--epochs", "1", "--out", one], 1, tmp_path)
    train([*words, "--epochs", "1", "--optimizer.chunk-size", "3", "--out", two], 2, tmp_path)
    assert world(two) == (2, "MULTI_CPU")
    assert len(losses(one)) == 3
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)


@pytest.mark.parametrize("variables", [{}, {"ACCELERATE_USE_CPU": "true"}], ids=["plain", "accelerate"])
def test_processes_share_their_gradients(variables: dict[str, str], tiny_shards: Path, tmp_path: Path) -> None:
    # One step of SGD, which, unlike Adam, shows the size of a gradient.
    words = [
        "demo",
        "--shards",
        tiny_shards,
        *SMALL_INPUTS,
        "--model.norm",
        "group",
        "--batch-size",
        "48",
        "--epochs",
        "1",
    ]
    words += ["--optimizer.name", "sgd", "--optimizer.warmup-epochs", "0", "--optimizer.max-gradient-norm", "0"]
    one, two, start = (tmp_path / name for name in ("one", "two", "start"))
    for result in (
        run(python("pretrain/run.py", *words, "--out", one), cwd=tmp_path),
        run(python("pretrain/run.py", *words, "--out", start, "--epochs", "0"), cwd=tmp_path),
        run_together(python("pretrain/run.py", *words, "--out", two), cwd=tmp_path, **variables),
    ):
        assert result.returncode == 0, result.stderr
    assert world(two) == (2, "MULTI_CPU")
    first, alone, together = (load_file(run / "model" / "model.safetensors") for run in (start, one, two))
    for name in ("image_tower.projection.weight", "sound_tower.trunk.layer1.0.conv1.weight"):
        way = alone[name] - first[name]
        assert way.norm() > 0
        assert (together[name] - alone[name]).norm() < 0.01 * way.norm()


def test_processes_that_would_train_alone_are_refused(tiny_shards: Path, tmp_path: Path) -> None:
    # Without CUDA, accelerate launch starts one process whatever is asked for.
    command = accelerate_launch("demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL_INPUTS)
    place = command.index("--config_file")
    command[place : place + 2] = ["--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    result = run(command, cwd=tmp_path)
    if result.returncode == 0:
        assert json.loads((tmp_path / "run" / "summary.json").read_text())["num_processes"] == 2
    else:
        assert "which would train alone" in result.stderr
        assert not (tmp_path / "run").exists()


def test_a_batch_that_can_not_be_dealt_is_refused(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL_INPUTS, "--batch-size", "15"]
    result = run(torchrun(2, *words), cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert result.returncode != 0
    assert "batch_size must be divisible by processes x optimizer.accumulation = 2 x 1 = 2, got 15" in result.stderr
