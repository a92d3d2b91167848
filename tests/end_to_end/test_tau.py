"""TAU's scenes as a user runs them, on a generated set in the official layout: strategies, resume, report, mistakes."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import python, run, run_together

from downstream.tau.demo_clips import write_demo
from downstream.tau.running import OWN_BANK

pytestmark = pytest.mark.slow

SMALL = (
    *("--tracker", "none", "--workers", "0", "--precision", "fp32", "--threads", "1", "--image-size", "32"),
    *("--batch-size", "40", "--tau.train-frames", "4"),
)
TRAINED = (
    *("--epochs", "14", "--validation.every-epochs", "7", "--optimizer.learning-rate", "2e-2"),
    *("--optimizer.restart-epochs", "2"),
)
"""Periods of 2, 4 and 8 epochs."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two test clips of each of the ten classes."""
    folder = tmp_path_factory.mktemp("tau") / "root"
    write_demo(folder)
    return folder


@pytest.fixture(scope="module")
def runs(root: Path) -> Path:
    """The folder of runs; `frames` in it is decoded once."""
    return root.parent


def words(root: Path, out: Path, strategy: str, *more: str | Path) -> list[str]:
    settings = ("--tau.cache", root.parent / "frames", "--tau.strategy", strategy, *SMALL, *more)
    return ["downstream/run.py", "demo-tau", "--root", str(root), "--out", str(out), *map(str, settings)]


def results_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


def trained(root: Path, strategy: str, *more: str | Path) -> dict[str, Any]:
    """The results of a strategy, run once."""
    out = root.parent / strategy
    if not (out / "results.json").is_file():
        done = run(python(*words(root, out, strategy, *TRAINED, *more)), cwd=root.parent)
        assert done.returncode == 0, done.stderr
    return results_of(out)


def test_joint_beats_both_single_modalities(root: Path, runs: Path) -> None:
    scores = {strategy: trained(root, strategy)["epochs"][-1] for strategy in ("audio", "video", "joint")}
    single = [scores["audio"], scores["video"]]
    # Each alone tells half of the classes; among the others it can but guess: 0.6 where it does all that can be done.
    assert all(0.4 < of["accuracy"] < 0.8 for of in single), scores
    assert scores["joint"]["accuracy"] > max(of["accuracy"] for of in single) + 0.15, scores
    assert scores["joint"]["log_loss"] < 0.5 * min(of["log_loss"] for of in single), scores
    with (runs / "joint" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 * 10
    right = defaultdict(list)
    loss = defaultdict(list)
    for row in rows:
        right[row["class"]].append(row["class"] == row["predicted"])
        loss[row["class"]].append(-np.log(max(float(row["probability_of_class"]), 1e-6)))
    assert scores["joint"]["accuracy"] == pytest.approx(np.mean([np.mean(of) for of in right.values()]))
    assert scores["joint"]["log_loss"] == pytest.approx(np.mean([np.mean(of) for of in loss.values()]), abs=1e-4)
    results = results_of(runs / "joint")
    assert results["notes"] == [OWN_BANK]
    assert np.array(results["details"]["confusion_matrix"]).sum() == 200
    assert results["details"]["best_epoch"] in (7, 14)
    assert trained(root, "video")["notes"] == []


def test_pipeline_and_the_ablation_train_their_encoder_first_and_resume(root: Path, runs: Path) -> None:
    pipeline = trained(root, "pipeline")
    # The encoder of its own first stage is that of strategy audio.
    assert results_of(runs / "pipeline" / "acoustic")["epochs"] == trained(root, "audio")["epochs"]
    others = [
        trained(root, "joint-pretrained", "--tau.acoustic-run", runs / "pipeline" / "acoustic"),
        trained(root, "pipeline-trainable"),
    ]
    for results in (pipeline, *others):
        assert results["epochs"][-1]["accuracy"] > 0.8
    # One that was stopped between its last step and its results continues from the network it kept.
    out = runs / "stopped"
    shutil.copytree(runs / "pipeline", out)
    (out / "results.json").unlink()
    resumed = run(python("downstream/run.py", "--resume", out), cwd=runs)
    assert resumed.returncode == 0, resumed.stderr
    assert "training" not in resumed.stderr
    assert results_of(out)["epochs"] == pipeline["epochs"]
    again = run(python("downstream/run.py", "--resume", out), cwd=runs)
    assert again.returncode == 2
    assert "nothing to resume" in again.stderr


def test_the_report_holds_the_papers_tables(root: Path, runs: Path) -> None:
    strategies = ("audio", "video", "pipeline", "pipeline-trainable", "joint-pretrained", "joint")
    for strategy in strategies:
        trained(root, strategy)
    done = run(
        python("downstream/run.py", "report", *(runs / name for name in strategies), "--out", runs / "r"), cwd=runs
    )
    assert done.returncode == 0, done.stderr
    text = (runs / "r" / "report.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    tables = [
        f"## Generated clips in TAU's layout, {name}"
        for name in ("one modality", "both modalities", "ablation", "other systems")
    ]
    assert headings[:4] == tables
    assert "## Embeddings by strategy" in headings
    # Each table has its chart, and the runs their confusion matrices.
    assert {f"{table}: scores" for table in tables[:3]} < set(headings)
    assert "## Confusion matrices" in headings
    for approach in ("Pipeline", "Joint", "I: embedding", "II: embedding", "III: raw image", "IV: raw image"):
        assert f"| {approach}" in text
    assert OWN_BANK in text


def test_a_run_in_two_pieces_is_the_run_in_one(root: Path, tmp_path: Path) -> None:
    more = ("--tau.features", "fbank", "--optimizer.restart-epochs", "1", "--epochs")
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    for out, epochs in ((whole, "4"), (pieces, "2")):
        done = run(python(*words(root, out, "audio", *more, epochs)), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    (pieces / "results.json").unlink()
    done = run(python("downstream/run.py", "--resume", pieces, "--epochs", "4"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout
    assert results_of(pieces)["epochs"] == results_of(whole)["epochs"]
    assert results_of(pieces)["notes"] == []
    models = [(out / "model" / "model.safetensors").read_bytes() for out in (whole, pieces)]
    assert models[0] == models[1]


def test_two_processes_train_and_score_together(root: Path, tmp_path: Path) -> None:
    command = python(*words(root, tmp_path / "out", "audio", "--epochs", "1", "--tau.features", "fbank"))
    done = run_together(command, cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    assert "batch 40 = 2 processes x 20 frames" in done.stdout
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["clip"], row["second"]) for row in rows}) == 200


def test_clips_of_no_use_are_refused_above_a_share_and_noted_below(root: Path, tmp_path: Path) -> None:
    bad = tmp_path / "root"
    shutil.copytree(root, bad, copy_function=lambda source, target: Path(target).symlink_to(source))
    fold = bad / "evaluation_setup" / "fold1_train.csv"
    text = fold.read_text(encoding="utf-8")
    fold.unlink()
    fold.write_text(text.replace("\tbus\n", "\tbusway\n", 1), encoding="utf-8")
    silent = next((bad / "video").glob("park-lyon-*.mp4"))
    silent.unlink()
    shutil.copyfile(next((bad / "audio").iterdir()), silent)
    frames = ("--tau.cache", tmp_path / "frames", "--epochs", "1")
    # The rows alone are too many, or they and the clip that can't be decoded.
    for number, share in ((1, "0.01"), (2, "0.02")):
        assert not (tmp_path / "frames").exists()
        refused = run(python(*words(bad, tmp_path / "a", "audio", *frames, "--max-corrupt", share)), cwd=tmp_path)
        assert refused.returncode == 2
        assert (
            f"{number} of 80 clips can't be used, more than max_corrupt {share}; the first: "
            "evaluation_setup/fold1_train.csv: bus-" in refused.stderr
        )
        assert "Traceback" not in refused.stderr
    done = run(python(*words(bad, tmp_path / "b", "audio", *frames, "--max-corrupt", "0.03")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notes = results_of(tmp_path / "b")["notes"]
    assert any("its label 'busway' is none of the ten" in note for note in notes)
    assert any(f"{silent.stem}: no video stream: {silent.name}: it holds no pictures" in note for note in notes)
    assert results_of(tmp_path / "b")["num_train"] == 58
