"""Scene benchmarks as users run them: on real scenes and the demo world, killed and resumed, on two processes."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from commands import CONSTANT_RATE, last_step, python, run, run_together, stop_when

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.training.metrics_file import MetricsFile
from shards.demo_world.corpus import generate_demo_corpus

CONTRACT = {"benchmark", "weights", "backbone", "protocol", "num_train", "num_test", "epochs", "seconds"}
SMALL = [
    *("--image-size", "32", "--batch-size", "8", "--tracker", "none", "--precision", "fp32"),
    *("--threads", "1", "--workers", "0"),
]


@pytest.fixture(scope="module")
def few_scenes(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real images of each of four classes."""
    root = tmp_path_factory.mktemp("few") / "scenes"
    for name in ("beach", "farmland", "forest", "residential"):
        (root / name).mkdir(parents=True)
        for path in sorted((real_data / "scenes" / name).iterdir())[:12]:
            (root / name / path.name).symlink_to(path)
    return root


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of towers with group norm, under which 2 processes compute what 1 does."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("towers") / "model"
    TwoTower(TwoTowerConfig(norm="group")).save_pretrained(folder)
    return folder


def results(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "results.json").read_text())
    assert set(record) >= CONTRACT
    return record


def finish(words: list[str | Path], out: Path, **more: str) -> dict[str, Any]:
    done = run(python("downstream/run.py", *words, "--out", out), cwd=out.parent, **more)
    assert done.returncode == 0, done.stderr
    return results(out)


def test_the_published_protocol_on_real_scenes(real_data: Path, towers: Path, tmp_path: Path) -> None:
    words = ["folder", "--root", real_data / "scenes", "--weights", towers, *SMALL, "--batch-size", "48"]
    record = finish([*words, "--epochs", "2", "--explain", "2"], tmp_path / "out")
    assert (record["benchmark"], record["protocol"], record["backbone"]) == ("folder", "paper", "resnet18")
    assert (record["num_train"], record["num_test"], record["head_on"]) == (240, 240, "embedding")
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
    assert 0 < record["epochs"][1]["accuracy"] <= 1
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 240
    right = sum(row["class"] == row["predicted"] for row in rows)
    assert right / 240 == pytest.approx(record["epochs"][1]["accuracy"])
    for name in ("config.yaml", "model/model.safetensors", "confusion_matrix.png", "explain/sheet_001.png"):
        assert (tmp_path / "out" / name).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["linear", "knn", "few-shot", "tuned"])
def test_the_other_protocols_on_real_scenes(protocol: str, few_scenes: Path, towers: Path, tmp_path: Path) -> None:
    words = ["folder", "--root", few_scenes, "--weights", towers, *SMALL, "--protocol", protocol, "--num-seeds", "2"]
    record = finish([*words, "--epochs", "2"], tmp_path / "out")
    # Compared like with like, though these weights have an embedding.
    assert (record["protocol"], record["head_on"]) == (protocol, "trunk")
    assert record["num_train"] + record["num_test"] == 48
    assert record["num_train"] == (20 if protocol == "few-shot" else 24)
    assert [seed["seed"] for seed in record["details"]["seeds"]] == [0, 1]
    assert set(record["epochs"][-1]) >= {"accuracy", "accuracy_sd"}
    again = run(python("downstream/run.py", "--resume", tmp_path / "out"), cwd=tmp_path)
    assert again.returncode == 2
    assert "it is finished" in again.stderr


def test_what_is_missing_and_unreadable_stands_in_the_results(few_scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "UCMerced_LandUse" / "Images"
    for name in ("beach", "forest"):
        (root / name).mkdir(parents=True)
        for path in (few_scenes / name).iterdir():
            (root / name / path.name).symlink_to(path.resolve())
    (root / "beach" / "beach_tile.tif").write_bytes(b"not an image")
    cv2.imwrite(str(root / "forest" / "forest_odd.tif"), cv2.imread(str(next((few_scenes / "forest").iterdir())))[:242])
    words = ["ucmerced", "--root", tmp_path, "--weights", "random", *SMALL, "--protocol", "linear", "--num-seeds", "1"]
    refused = run(python("downstream/run.py", *words, "--out", tmp_path / "refused"), cwd=tmp_path)
    assert refused.returncode == 2
    assert "error: " in refused.stderr
    assert "is not a complete copy of UC Merced: 26 of 2100 images" in refused.stderr
    words += ["--allow-partial", "--max-corrupt", "0.05"]
    record = finish(words, tmp_path / "out")
    assert record["num_train"] + record["num_test"] == 25
    assert record["notes"][0].startswith("26 of 2100 images; agricultural has 0 of 100")
    assert record["notes"][1].startswith("not used: beach/beach_tile.tif: undecodable image")
    assert len(record["details"]["classes"]) == 21
    assert record["epochs"][0]["accuracy_sd"] is None


def stopped(words: list[str | Path], out: Path, number: int, when: int) -> None:
    """Starts a run and sends it a signal once it has saved step `when`."""
    command = python("downstream/run.py", *words, "--out", out)
    stop_when(lambda: last_step(out) >= when, command, number, cwd=out.parent)
    assert not (out / "results.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(number: int, few_scenes: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["folder", "--root", few_scenes, "--weights", "random", *SMALL, "--epochs", "4"]
    whole = finish(words, tmp_path / "whole")
    stopped([*words, "--checkpoint.every-steps", "2"], tmp_path / "stopped", number, 4)
    resumed = run(python("downstream/run.py", "--resume", tmp_path / "stopped"), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "at step" in resumed.stdout
    assert results(tmp_path / "stopped")["epochs"] == whole["epochs"]
    predictions = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "stopped")]
    assert predictions[0] == predictions[1]

    longer = run(python("downstream/run.py", "--resume", tmp_path / "stopped", "--epochs", "5"), cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr
    record = results(tmp_path / "stopped")
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2, 3, 4, 5]
    assert record["epochs"][:4] == whole["epochs"]
    again = run(python("downstream/run.py", "--resume", tmp_path / "stopped"), cwd=tmp_path)
    assert again.returncode == 2
    assert "epochs must be > 5" in again.stderr


def together(words: list[str | Path], out: Path) -> dict[str, Any]:
    """The results of two processes."""
    command = python("downstream/run.py", *words, "--out", out)
    done = run_together(command, cwd=out.parent, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    return results(out)


@pytest.mark.slow
def test_two_processes_fine_tune_as_one(few_scenes: Path, towers: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["folder", "--root", few_scenes, "--weights", towers, *SMALL, *CONSTANT_RATE]
    words += ["--epochs", "2", "--log-every-steps", "1"]
    one = finish(words, tmp_path / "one")
    two = together(words, tmp_path / "two")
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["num_processes"] == 2
    losses = [
        [line["loss"] for line in MetricsFile(tmp_path / name).read() if line["split"] == "train"]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 6
    assert losses[1] == pytest.approx(losses[0], rel=2e-4)
    assert two["epochs"][-1]["accuracy"] == pytest.approx(one["epochs"][-1]["accuracy"], abs=1 / 24 + 1e-9)
    assert probabilities(tmp_path / "two") == pytest.approx(probabilities(tmp_path / "one"), abs=1e-3)


def probabilities(out: Path) -> list[float]:
    with (out / "predictions.csv").open() as file:
        return [float(row["probability_of_class"]) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["linear", "tuned"])
def test_two_processes_run_the_other_protocols_too(
    protocol: str, few_scenes: Path, towers: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = ["folder", "--root", few_scenes, "--weights", towers, *SMALL, "--protocol", protocol]
    # With a tracker: when it ends a run, it must not part the processes, which have more to do together.
    words += ["--num-seeds", "2", "--epochs", "1", "--tracker", "tensorboard"]
    two = together(words, tmp_path / "two")
    summaries = [json.loads(path.read_text()) for path in (tmp_path / "two").rglob("summary.json")]
    assert [summary["num_processes"] for summary in summaries] == [2] * (4 if protocol == "tuned" else 0)
    if protocol == "linear":
        one = finish(words, tmp_path / "one")
        assert two["details"]["seeds"][0]["C"] == one["details"]["seeds"][0]["C"]
        assert probabilities(tmp_path / "two") == pytest.approx(probabilities(tmp_path / "one"), abs=1e-3)
    assert len(two["details"]["seeds"]) == 2
    assert len(probabilities(tmp_path / "two")) == 24


def test_the_demo_world_offline(tmp_path: Path) -> None:
    root = tmp_path / "world"
    generate_demo_corpus(root, num_places=60, image_size=64, clip_seconds=0.5, num_workers=0, show_progress=False)
    record = finish(["demo-scenes", "--root", root, "--weights", "random", *SMALL, "--epochs", "1"], tmp_path / "out")
    assert (record["num_train"], record["num_test"]) == (30, 30)
    assert len(record["details"]["classes"]) == 8
