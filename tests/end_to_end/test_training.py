"""Pre-training as a user runs it: the run folder, a kill and a resume, what it leaves, and every mistake's sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from commands import PATIENCE_SECONDS, SMALL, accelerate_launch, environment, python, run

from pretrain.model import TwoTower
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints
from shards.streaming.index import entries_in_tar
from shards.streaming.reading import ShardSet


@pytest.fixture(scope="module")
def finished_run(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 epochs, tracked by MLflow in its default place."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["demo", "--shards", tiny_shards, "--out", "mine", *SMALL, "--epochs", "3", "--tracker", "mlflow"]
    words += ["--checkpoint.every-epochs", "1"]
    result = run(python("pretrain/run.py", *words, "--log-every-steps", "2"), cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "done: 3 epochs" in result.stdout
    return folder / "mine"


def test_the_run_folder_holds_what_is_promised(finished_run: Path) -> None:
    names = {path.name for path in finished_run.iterdir()}
    records = {"config.yaml", "metrics.jsonl", "summary.json", "tracking.json"}
    assert names == {*records, "checkpoints", "model", "curves.png"}
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert config["optimizer"]["learning_rate"] == 3e-3  # also what was not said stands there
    assert config["precision"] == "fp32"
    lines = MetricsFile(finished_run).read()
    assert [(line["step"], line["split"]) for line in lines if line["split"] == "val"] == [
        (3, "val"),
        (6, "val"),
        (9, "val"),
    ]
    assert {line["step"] for line in lines if line["split"] == "train"} == {1, 2, 3, 4, 6, 8, 9}
    assert all(0 <= line["waiting_for_data"] <= 1 for line in lines if line["split"] == "train")
    assert len(list_checkpoints(finished_run)) == 2


def test_the_model_comes_back_in_two_lines(finished_run: Path, tiny_shards: Path) -> None:
    model = TwoTower.from_pretrained(finished_run / "model")
    embeddings = model.encode_image(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert embeddings.shape == (2, 128)
    assert TwoTower.from_pretrained(finished_run).config == model.config
    manifest = ShardSet.open(tiny_shards).manifest
    assert model.config.spectrogram == manifest.spectrogram
    assert model.config.spectrogram_mean == manifest.statistics["spectrogram_mean"]
    card = (finished_run / "model" / "README.md").read_text()
    assert "48 train, 16 val, 24 test" in card
    assert "| recall@10, % |" in card
    best_step = json.loads((finished_run / "summary.json").read_text())["best_step"]
    (best,) = (line for line in MetricsFile(finished_run).read() if (line["split"], line["step"]) == ("val", best_step))
    low, high = best["intervals"]["image_to_sound"]["median_rank"]
    assert f"| {best['image_to_sound']['median_rank']:.1f} ({low:.1f} – {high:.1f}) |" in card
    assert "In brackets 95 % intervals, by bootstrap over 16 queries." in card


def test_mlflow_holds_settings_metrics_and_artifacts(finished_run: Path) -> None:
    import mlflow

    record = json.loads((finished_run / "tracking.json").read_text())
    assert (finished_run.parent / "mlflow.db").is_file()
    client = mlflow.MlflowClient(tracking_uri=record["tracking_uri"])
    tracked = client.get_run(record["run_id"])
    assert tracked.data.params["loss.temperature"] == "0.1"
    last = [line for line in MetricsFile(finished_run).read() if line["split"] == "val"][-1]
    assert tracked.data.metrics["val/image_to_sound/median_rank"] == last["image_to_sound"]["median_rank"]
    assert not any("intervals" in name for name in tracked.data.metrics)
    kept = {item.path for item in client.list_artifacts(record["run_id"])}
    assert kept >= {"config.yaml", "summary.json", "curves.png"}
    assert tracked.info.status == "FINISHED"


def test_a_killed_run_goes_on(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL, "--epochs", "60"]
    words += ["--checkpoint.every-steps", "2", "--log-every-steps", "1"]
    process = subprocess.Popen(
        accelerate_launch(*words), cwd=tmp_path, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    # In the middle of an epoch of 3 steps, after a checkpoint in the middle of an epoch.
    while not any(int(path.name[5:]) >= 4 for path in list_checkpoints(tmp_path / "run")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    saved = int(list_checkpoints(tmp_path / "run")[-1].name[5:])
    assert saved < 180

    # A line that the killed process wrote only half of, and one beyond the checkpoint.
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 170, "epoch": 56, "split": "train", "loss": 1}\n{"step": 171, "ep')
    epochs = (saved + 6) // 3
    result = run(python("pretrain/run.py", "--resume", tmp_path / "run", "--epochs", str(epochs)), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"at step {saved} of {epochs * 3}" in result.stdout
    steps = [line["step"] for line in MetricsFile(tmp_path / "run").read() if line["split"] == "train"]
    assert steps == list(range(1, epochs * 3 + 1))
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["step"] == epochs * 3


def test_it_stops_early_when_validation_does_not_improve(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL, "--epochs", "50"]
    words += ["--validation.patience-epochs", "2", "--optimizer.learning-rate", "1e-9"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["stopped_early"]
    assert summary["epochs"] < 50
    # Killed, or preempted, before it could say so: a resumed run ends there too.
    (tmp_path / "run" / "summary.json").unlink()
    result = run(python("pretrain/run.py", "--resume", tmp_path / "run"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {name: again[name] for name in ("step", "best_step", "stopped_early")} == {
        name: summary[name] for name in ("step", "best_step", "stopped_early")
    }


def test_a_loss_that_is_not_finite_stops_with_step_and_keys(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["demo", "--shards", tiny_shards, "--out", tmp_path / "run", *SMALL, "--epochs", "9"]
    words += ["--optimizer.learning-rate", "1e9", "--optimizer.max-gradient-norm", "0"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode != 0
    assert "it must be finite; the batch held the keys 10" in result.stderr
    record = json.loads((tmp_path / "run" / "non_finite_batch.json").read_text())
    assert len(record["keys"]) == 16
    assert f"the loss of step {record['step']} is" in result.stderr


def test_a_damaged_image_stops_the_run_with_its_key_also_from_a_worker(tiny_shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_shards, copy)
    tar = copy / "train-000002.tar"
    entry = entries_in_tar(tar)[3]
    content = bytearray(tar.read_bytes())
    start, length = entry.members["jpg"]
    content[start : start + length] = bytes(length)
    tar.write_bytes(content)
    words = ["demo", "--shards", copy, "--out", tmp_path / "run", *SMALL, "--data.workers", "2", "--epochs", "2"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert f"the image of sample {entry.key} in {tar} can't be decoded" in result.stderr


def test_images_decoded_once_train_to_the_same_bits(tiny_shards: Path, tmp_path: Path) -> None:
    def weights(name: str, *words: object) -> bytes:
        options = [*SMALL, "--epochs", 2, "--data.workers", 2, *words]
        command = python("pretrain/run.py", "demo", "--shards", tiny_shards, "--out", tmp_path / name, *options)
        result = run(command, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return (tmp_path / name / "model" / "model.safetensors").read_bytes()

    assert weights("kept", "--data.decoded-dir", "disk") == weights("each time", "--data.decoded-gb", 0)
    assert list((tmp_path / "disk").iterdir()) == []


def test_a_finished_run_has_nothing_to_resume(finished_run: Path) -> None:
    # A chain of Slurm jobs resumes it once more; that is no failure.
    before = (finished_run / "config.yaml").read_text()
    result = run(python("pretrain/run.py", "--resume", finished_run), cwd=finished_run.parent)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"the run in {finished_run} is finished; to train it further, give a larger --epochs\n"
    assert (finished_run / "config.yaml").read_text() == before


def test_resuming_with_other_settings_needs_epochs_to_come(finished_run: Path) -> None:
    before = (finished_run / "config.yaml").read_text()
    result = run(python("pretrain/run.py", "--resume", finished_run, "--data.workers", "1"), cwd=finished_run.parent)
    assert result.returncode == 2
    assert "epochs must be > 3, which the run in" in result.stderr
    assert (finished_run / "config.yaml").read_text() == before


def broken(kind: str, shards: Path, tmp_path: Path) -> list[str]:
    """The command line of a user's mistake."""
    copy = tmp_path / "copy"
    if kind == "no shards":
        return ["--shards", "nowhere"]
    if kind == "wrong folder":
        (tmp_path / "empty").mkdir()
        return ["--shards", "empty"]
    if kind == "large batch":
        return ["--shards", str(shards), "--batch-size", "64"]
    if kind == "unknown preset":
        return ["dmeo"]
    shutil.copytree(shards, copy)
    if kind == "truncated tar":
        tar = copy / "train-000001.tar"
        tar.write_bytes(tar.read_bytes()[:-1024])
    if kind == "missing tar":
        (copy / "val-000000.tar").unlink()
    if kind == "other version":
        manifest = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    return ["--shards", str(copy)]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("no shards", "no shards at nowhere: no such folder; build them with 'python shards/run.py build'"),
        ("wrong folder", "empty is not a shard set: it has no manifest.json"),
        ("truncated tar", "train-000001.tar has 40960 bytes, the manifest says"),
        ("missing tar", "val-000000.tar is missing"),
        ("other version", "format_version is 99, this Earshot reads 1 and 2"),
        ("large batch", "batch_size must be at most the 48 pairs of the training split, got 64"),
        ("unknown preset", "unknown preset 'dmeo'; did you mean 'demo'?"),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(
    kind: str, sentence: str, tiny_shards: Path, tmp_path: Path
) -> None:
    words = broken(kind, tiny_shards, tmp_path)
    if kind == "truncated tar":
        size = (tmp_path / "copy" / "train-000001.tar").stat().st_size
        sentence = sentence.replace("40960", str(size))
    batch = [] if "--batch-size" in words else ["--batch-size", "16"]
    result = run(python("pretrain/run.py", *words, *batch, "--out", "run", "--tracker", "none"), cwd=tmp_path)
    assert result.returncode == 2
    assert [line for line in result.stderr.splitlines() if line.startswith("error:")] == result.stderr.splitlines()
    assert sentence in result.stderr
    assert not (tmp_path / "run").exists()
