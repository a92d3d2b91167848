"""DeepSpeed's ZeRO on 2 real processes: the losses of one process, and a way back from every stage to any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import BIN, CONSTANT_RATE, REPOSITORY, SMALL_INPUTS, python, run, run_together, with_deepspeed
from safetensors.torch import load_file

from pretrain.training.metrics_file import MetricsFile

OPTIONS = [
    *("--epochs", "2", "--model.norm", "group", "--log-every-steps", "1", "--seed", "3"),
    *("--optimizer.learning-rate", "1e-4", "--optimizer.max-gradient-norm", "0.5", "--checkpoint.every-epochs", "1"),
]
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3, "zero2_offload": 2, "zero3_offload": 3}


def deepspeed_launch(stage: str, *words: str | Path) -> list[str]:
    """`accelerate launch` of 2 processes with a DeepSpeed file of launch/."""
    config = REPOSITORY / "launch" / "accelerate" / f"deepspeed_{stage}.yaml"
    return [
        *(str(BIN / "accelerate"), "launch", "--quiet", "--config_file", str(config)),
        *(str(REPOSITORY / "pretrain" / "run.py"), *map(str, words)),
    ]


def losses(run_folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(run_folder).read() if line["split"] == "train"]


def ranks(run_folder: Path) -> list[float]:
    return [line["mean_rank"] for line in MetricsFile(run_folder).read() if line["split"] == "val"]


def train(words: list[str | Path], run_folder: Path, *, stage: str = "", launched: bool = False) -> dict[str, object]:
    """Trains on 1 process, or on 2 under a ZeRO stage, with paths relative to the checkout; the run's summary."""
    command = python("pretrain/run.py", *words)
    if launched:
        result = run(deepspeed_launch(stage, *words), cwd=REPOSITORY)
    elif stage:
        result = run_together(command, cwd=REPOSITORY, **with_deepspeed(stage))
    else:
        result = run(command, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr[-4000:]
    summary: dict[str, object] = json.loads((run_folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def alone(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    summary = train(["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, "--out", folder], folder)
    assert (summary["num_processes"], summary["distributed_type"]) == (1, "NO")
    return folder


@pytest.mark.slow
def test_heads_on_frozen_encoders_train_as_on_one_process(tiny_shards: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, "--model.freeze", "image,sound"]
    words += ["--data.feature-views", "2", "--data.features-dir", tmp_path / "features"]
    train([*words, "--out", one], one)
    summary = train([*words, "--out", two], two, stage="zero2")
    assert (summary["num_processes"], summary["zero_stage"]) == (2, 2)
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    command = python("pretrain/run.py", *words, "--out", tmp_path / "three")
    result = run_together(command, cwd=REPOSITORY, **with_deepspeed("zero3"))
    assert result.returncode != 0
    assert "model.freeze image,sound runs the encoders whole, but ZeRO-3 splits them" in result.stderr
    assert not (tmp_path / "three").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_trains_as_one_process_does(stage: str, alone: Path, tiny_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, "--out", folder]
    summary = train(words, folder, stage=stage, launched=stage == "zero2")
    assert summary["num_processes"] == 2
    assert summary["distributed_type"] == "DEEPSPEED"
    assert summary["zero_stage"] == STAGES[stage]
    assert losses(folder) == pytest.approx(losses(alone), rel=2e-4)
    assert ranks(folder) == pytest.approx(ranks(alone), abs=0.5)
    name = "towers.image_tower.trunk.layer1.0.conv1.weight"
    weights, expected = (
        load_file(place / "checkpoints" / "step-00000006" / "weights.safetensors")[name] for place in (folder, alone)
    )
    begun = load_file(alone / "checkpoints" / "step-00000003" / "weights.safetensors")[name]
    assert (weights - expected).norm() < 0.2 * (expected - begun).norm()


@pytest.mark.slow
def test_nothing_is_compiled_and_no_lock_is_waited_for(tiny_shards: Path, tmp_path: Path) -> None:
    operator = tmp_path / "extensions" / "deepspeed_shm_comm"
    operator.mkdir(parents=True)
    (operator / "lock").touch()
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, "--epochs", "1", "--out", tmp_path / "run"]
    environment = {"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions"), **with_deepspeed("zero2")}
    result = run_together(python("pretrain/run.py", *words), cwd=REPOSITORY, **environment)
    assert result.returncode == 0, result.stderr[-4000:]
    assert [path.name for path in operator.iterdir()] == ["lock"]


@pytest.mark.slow
def test_accumulation_and_the_embedding_cache_work_under_zero(tiny_shards: Path, tmp_path: Path) -> None:
    # Two parts a step, each embedded in chunks of 3 of a process's 4 pairs, against two parts on one process.
    words = ["demo", "--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, *CONSTANT_RATE, "--optimizer.accumulation", "2"]
    plain, chunked = tmp_path / "plain", tmp_path / "chunked"
    train([*words, "--out", plain], plain)
    summary = train([*words, "--optimizer.chunk-size", "3", "--out", chunked], chunked, stage="zero3")
    assert (summary["distributed_type"], summary["zero_stage"], summary["num_processes"]) == ("DEEPSPEED", 3, 2)
    assert losses(chunked) == pytest.approx(losses(plain), rel=2e-4)


@pytest.mark.slow
def test_a_run_goes_on_under_any_other_stage(alone: Path, tiny_shards: Path, tmp_path: Path) -> None:
    # One epoch each under ZeRO-3, on one process, and under ZeRO-2, against three epochs of one process. The
    # learning rate is constant, so that it does not depend on --epochs.
    words = ["--shards", tiny_shards, *SMALL_INPUTS, *OPTIONS, *CONSTANT_RATE]
    straight, changing = tmp_path / "straight", tmp_path / "changing"
    train(["demo", *words, "--epochs", "3", "--out", straight], straight)
    train(["demo", *words, "--epochs", "1", "--out", changing], changing, stage="zero3")
    train(["--resume", changing, "--epochs", "2"], changing)
    summary = train(["--resume", changing, "--epochs", "3"], changing, stage="zero2")
    assert (summary["distributed_type"], summary["zero_stage"], summary["num_processes"]) == ("DEEPSPEED", 2, 2)
    assert len(losses(straight)) == 9
    assert losses(changing) == pytest.approx(losses(straight), rel=5e-4)
    # Adam counts its steps over all of it, or the last steps would be of another length.
    state = load_file(changing / "checkpoints" / "step-00000009" / "optimizer.safetensors")
    assert {int(value) for name, value in state.items() if name.endswith(".step")} == {9}
    assert all(torch.isfinite(value).all() for value in state.values())


def test_deepspeed_that_would_be_dropped_in_silence_is_refused(tiny_shards: Path, tmp_path: Path) -> None:
    command = deepspeed_launch("zero2", "demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL_INPUTS)
    result = run(command, cwd=REPOSITORY, ACCELERATE_USE_CPU="true")
    assert result.returncode != 0
    assert "asks for DeepSpeed, but the processes joined as" in result.stderr
    assert not (tmp_path / "run").exists()
