"""MoCo as a user runs it, in bf16: a kill and an exact resume, what takes its model, the embedding cache, a refusal."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from commands import SMALL_INPUTS, last_step, python, run, stop_when
from model_takers import assert_retrieval_and_downstream_take
from safetensors.torch import load_file
from torch import Tensor

from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints

EPOCHS, STEPS_PER_EPOCH, QUEUE_SIZE = 5, 3, 40
OPTIONS = [
    *(
        "demo",
        "--method",
        "moco",
        *SMALL_INPUTS,
        "--precision",
        "bf16",
        "--epochs",
        str(EPOCHS),
        "--log-every-steps",
        "1",
    ),
    *("--checkpoint.every-steps", "2", "--moco.queue-size", str(QUEUE_SIZE), "--moco.momentum", "0.9"),
]


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in MetricsFile(folder).read() if line["split"] == "train"]


def last_weights(folder: Path) -> Path:
    last = list_checkpoints(folder)[-1]
    assert last.name == f"step-{EPOCHS * STEPS_PER_EPOCH:08d}"
    return last / "weights.safetensors"


@pytest.fixture(scope="module")
def finished(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = run(python("pretrain/run.py", *OPTIONS, "--shards", tiny_shards, "--out", folder), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    assert "of an image's other view" in result.stderr
    return folder


def test_a_killed_run_ends_with_the_same_bits(finished: Path, tiny_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = python("pretrain/run.py", *OPTIONS, "--shards", tiny_shards, "--out", folder)
    stop_when(lambda: last_step(folder) >= 4, command, signal.SIGKILL, cwd=tmp_path)
    assert last_step(folder) < EPOCHS * STEPS_PER_EPOCH
    result = run(python("pretrain/run.py", "--resume", folder), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert losses(folder) == losses(finished)
    assert last_weights(folder).read_bytes() == last_weights(finished).read_bytes()


def test_a_checkpoint_holds_what_moco_remembers(finished: Path) -> None:
    state: dict[str, Tensor] = load_file(last_weights(finished))
    assert state["contrast.queue"].norm(dim=1).allclose(state["contrast.queue"].new_ones(QUEUE_SIZE), atol=1e-5)
    steps = EPOCHS * STEPS_PER_EPOCH
    assert (int(state["draws"]), int(state["contrast.queue_filled"])) == (steps, QUEUE_SIZE)
    assert state["contrast.queue_next"] == steps * 16 % QUEUE_SIZE
    followed = "momentum_towers.image_tower.trunk.conv1.weight"
    assert not state[followed].equal(state[followed.removeprefix("momentum_")])
    model = load_file(finished / "model" / "model.safetensors")
    assert {name.split(".")[0] for name in model} == {"image_tower", "sound_tower"}
    name = "image_tower.projection.weight"
    assert model[name].equal(state[f"towers.{name}"])


@pytest.mark.slow
def test_retrieval_and_downstream_take_the_model_as_any_other(
    finished: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    assert_retrieval_and_downstream_take(finished, tiny_shards, tmp_path)


@pytest.mark.slow
def test_the_embedding_cache_trains_as_the_whole_batch_does(tiny_shards: Path, tmp_path: Path) -> None:
    found = []
    for chunk_size in ("0", "8"):
        folder = tmp_path / chunk_size
        words = [*OPTIONS, "--shards", tiny_shards, "--out", folder, "--optimizer.chunk-size", chunk_size]
        words += ["--precision", "fp32", "--model.norm", "group", "--epochs", "1", "--optimizer.learning-rate", "2e-5"]
        result = run(python("pretrain/run.py", *words), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found.append([loss for _, loss in losses(folder)])
    assert len(found[0]) == STEPS_PER_EPOCH
    assert found[1] == pytest.approx(found[0], rel=2e-4)


def test_a_queue_larger_than_the_training_split_is_refused(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["demo", "--method", "moco", "--moco.queue-size", "49", *SMALL_INPUTS, "--shards", tiny_shards]
    result = run(python("pretrain/run.py", *words, "--out", tmp_path / "run"), cwd=tmp_path)
    assert result.returncode == 2
    assert "moco.queue_size must be at most the 48 pairs of the training split" in result.stderr
    assert not (tmp_path / "run").exists()
