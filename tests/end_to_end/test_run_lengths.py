"""Runs that end after a time instead of after epochs, and runs of no epoch at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import SMALL, python, run
from safetensors.torch import load_file

from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints


@pytest.fixture(scope="module")
def one_epoch(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch of 3 steps."""
    folder = tmp_path_factory.mktemp("one_epoch") / "run"
    words = ["demo", "--shards", tiny_shards, *SMALL, "--seed", "3", "--epochs", "1", "--out", folder]
    result = run(python("pretrain/run.py", *words), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_run_of_no_epoch_writes_the_model_as_it_was_initialised(
    one_epoch: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    words = ["demo", "--shards", tiny_shards, *SMALL, "--seed", "3"]
    result = run(python("pretrain/run.py", *words, "--epochs", "0", "--out", "none"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "done: 0 epochs" in result.stdout
    none = tmp_path / "none"
    assert json.loads((none / "summary.json").read_text())["training_seconds"] == 0
    assert [(line["split"], line["step"]) for line in MetricsFile(none).read()] == [("val", 0)]
    assert "0 of 0 epochs (0 steps)" in (none / "model" / "README.md").read_text()

    # It can be trained after all, and then begins from those weights.
    weights = load_file(none / "model" / "model.safetensors")
    saved = load_file(list_checkpoints(none)[0] / "weights.safetensors")
    assert all(torch.equal(saved[f"towers.{name}"], value) for name, value in weights.items())
    result = run(python("pretrain/run.py", "--resume", "none", "--epochs", "1"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert losses(none) == losses(one_epoch)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(folder).read() if line["split"] == "train"]


def test_a_run_ends_when_its_time_is_over(one_epoch: Path, tiny_shards: Path, tmp_path: Path) -> None:
    # As long as about 12 steps take on this machine.
    seconds = 4 * json.loads((one_epoch / "summary.json").read_text())["training_seconds"]
    words = ["demo", "--shards", tiny_shards, *SMALL, "--epochs", "1000000", "--out", "run"]
    words += ["--max-seconds", str(seconds)]
    words += ["--log-every-steps", "1", "--checkpoint.every-epochs", "1000000", "--optimizer.warmup-epochs", "0"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "run"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["training_seconds"] >= seconds
    assert summary["peak_memory_bytes"] > 100e6
    assert not summary["stopped_early"]
    lines = MetricsFile(folder).read()
    rates = [line["learning_rate"] for line in lines if line["split"] == "train"]
    # The cosine follows the time, and the last step stands near its end.
    assert len(rates) == summary["step"]
    assert rates[0] == 3e-3
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5 * rates[0]
    # Whatever the epoch, the end is validated, saved and written.
    assert lines[-1]["split"] == "val"
    assert lines[-1]["step"] == summary["step"]
    assert [path.name for path in list_checkpoints(folder)] == [f"step-{summary['step']:08d}"]
    assert (folder / "model" / "model.safetensors").is_file()

    again = run(python("pretrain/run.py", "--resume", "run"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == "the run in run is finished; to train it further, give a larger --max-seconds\n"
    assert json.loads((folder / "summary.json").read_text()) == summary
    longer = str(summary["training_seconds"] + seconds)
    more = run(python("pretrain/run.py", "--resume", "run", "--max-seconds", longer), cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert json.loads((folder / "summary.json").read_text())["step"] > summary["step"]
