"""Sound events transferred to scenes, as a user runs it: a teacher is trained, then every loss, resumed, reported."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from commands import last_step, python, run, run_together, stop_when
from pair_folders import SCENES, write_advance, write_events, write_table
from safetensors.torch import load_file

TINY = [
    *("--batch-size", "8", "--tracker", "none", "--precision", "fp32", "--threads", "1", "--workers", "0"),
    *(
        "--epochs",
        "2",
        "--checkpoint.every-epochs",
        "2",
        "--backbone",
        "resnet18",
        "--transfer.num-frames",
        "32",
        "--validation.patience-epochs",
        "0",
    ),
]
SMALL_NETWORK = ["--image-size", "32", "--optimizer.learning-rate", "1e-3", "--num-seeds", "2"]


@pytest.fixture(scope="module")
def advance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_advance(tmp_path_factory.mktemp("advance") / "root")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The --out of a tagger of low, middle and high tones."""
    folder = tmp_path_factory.mktemp("teacher")
    root = write_events(folder / "events")
    words = ("sound-events", "--root", root, "--out", folder / "out", *TINY, "--num-seeds", "1")
    done = run(python("downstream/run.py", *words), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def words(root: Path, out: Path, *more: str | Path) -> list[str]:
    return ["advance-transfer", "--root", str(root), "--out", str(out), *TINY, *SMALL_NETWORK, *map(str, more)]


def results(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return record


def finish(command: list[str], out: Path) -> dict[str, Any]:
    done = run(python("downstream/run.py", *command), cwd=out.parent)
    assert done.returncode == 0, done.stderr
    return results(out)


@pytest.mark.slow
def test_a_teacher_is_a_torchvision_network_that_tells_tones(teacher: Path) -> None:
    record = results(teacher)
    assert record["details"]["classes"] == ["high", "low", "middle"]
    (entry,) = record["epochs"]
    assert entry["mean_average_precision"] > 0.6
    folder = teacher / "seed-0" / "model"
    network = torchvision.models.resnet18(num_classes=3)
    network.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["events"] == ["high", "low", "middle"]
    assert len(config["band_mean"]) == 64
    assert (
        len((folder / "trained_on.txt").read_text().splitlines()) == record["num_train"] + record["details"]["num_val"]
    )


@pytest.mark.slow
def test_every_loss_has_results_and_a_row_in_the_report(advance: Path, teacher: Path, tmp_path: Path) -> None:
    taught, once = ("--transfer.teacher", teacher, "--allow-partial"), ("--num-seeds", "1")
    runs: dict[str, tuple[str | Path, ...]] = {
        "none": ("--transfer.loss", "none", "--transfer.sound-backbone", "resnet18", "--allow-partial"),
        "kl-audio": ("--transfer.loss", "kl-audio", *taught, *once),
        "kl-joint": ("--transfer.loss", "kl-joint", "--transfer.modality", "image", *taught, *once),
        "sq-audio": ("--transfer.loss", "sq-audio", "--transfer.modality", "sound", *taught, *once),
        "sq-joint": ("--transfer.loss", "sq-joint", "--transfer.no-with-scene-loss", *taught, *once),
        "events": ("--transfer.loss", "events", "--explain", "3", "--epochs", "8", *taught, *once),
    }
    for name, more in runs.items():
        record = finish(words(advance, tmp_path / name, *more), tmp_path / name)
        (entry,) = record["epochs"]
        for score in ("precision", "recall", "f1", "accuracy"):
            assert 0 <= entry[score] <= 1
            assert (entry[f"{score}_sd"] is None) == (name != "none")
        assert record["details"]["classes"] == sorted(SCENES)
        assert [draw["seed"] for draw in record["details"]["seeds"]] == [0, 1][: record["details"]["num_seeds"]]
        assert (tmp_path / name / "events_tsne.png").is_file() == (name != "none")
        assert (tmp_path / name / "confusion_matrix.png").is_file()
    with (tmp_path / "none" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"0", "1"}
    of_first = [row for row in rows if row["seed"] == "0"]
    right = sum(row["class"] == row["predicted"] for row in of_first) / len(of_first)
    assert right == pytest.approx(results(tmp_path / "none")["details"]["seeds"][0]["accuracy"])
    # Colours and tones tell the scenes apart; chance is a third.
    assert results(tmp_path / "events")["epochs"][0]["accuracy"] > 0.5
    assert (tmp_path / "events" / "explain" / "sheet_001.png").is_file()
    reported = run(python("downstream/run.py", "report", tmp_path, teacher, "--out", tmp_path / "report"), cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    table = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    measured = [line for line in table.splitlines() if "**measured**" in line]
    for approach, modality in (
        ("L_s†", "image + sound"),
        ("L_s + L_KL (N_a)", "image + sound"),
        ("L_s + L_KL (N_v+a)", "image"),
        ("L_s + L_SQ (N_a)", "sound"),
        ("L_SQ (N_v+a) alone", "image + sound"),
        ("L_s + L_E", "image + sound"),
    ):
        assert sum(f"| {modality} | {approach} |" in line for line in measured) == 1, approach
    assert "| 73.97 ± 0.39 |" in table
    assert "mAP" in table
    assert "L_s + L_E" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_scores(advance: Path, teacher: Path, tmp_path: Path) -> None:
    more = ("--transfer.teacher", teacher, "--allow-partial", "--checkpoint.every-steps", "1")
    whole = finish(words(advance, tmp_path / "whole", *more), tmp_path / "whole")
    out = tmp_path / "killed"
    command = python("downstream/run.py", *words(advance, out, *more))
    stop_when(lambda: last_step(out / "seed-1") > 0, command, signal.SIGKILL, cwd=tmp_path)
    assert not (out / "results.json").exists()
    resumed = run(python("downstream/run.py", "--resume", out), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    # The first seed was finished: it is read back, not trained again.
    assert "seed 0:" not in resumed.stdout
    again = results(out)
    assert again["epochs"][0] == pytest.approx(whole["epochs"][0])
    finished = run(python("downstream/run.py", "--resume", out), cwd=tmp_path)
    assert finished.returncode == 2
    assert "nothing to resume" in finished.stderr


@pytest.mark.slow
def test_pairs_of_a_table_with_a_teacher_of_each_seed(tmp_path: Path) -> None:
    root = write_table(tmp_path / "table")
    taught = tmp_path / "teacher"
    finish(["sound-events", "--root", str(root), "--out", str(taught), *TINY, "--num-seeds", "2"], taught)
    out = tmp_path / "out"
    record = finish(words(root, out, "--transfer.teacher", taught), out)
    # Each seed's pupil has the teacher of its own split: no test sound was heard before.
    assert record["notes"] == []
    assert results(taught)["num_test"] == record["num_test"]
    shutil.copytree(taught / "seed-0" / "model", tmp_path / "first" / "model")
    other = tmp_path / "other"
    command = words(root, other, "--transfer.teacher", tmp_path / "first")
    refused = run(python("downstream/run.py", *command), cwd=tmp_path)
    assert refused.returncode == 2
    assert "test sounds of seed 1, such as" in refused.stderr
    assert "hearing" not in refused.stderr
    leaked = finish([*command, "--force"], other)
    assert ["seed 1" in note and "learned from" in note for note in leaked["notes"]] == [True]


@pytest.mark.slow
def test_two_processes_train_together(advance: Path, teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--transfer.teacher", teacher, "--allow-partial", "--transfer.loss", "kl-audio", "--num-seeds", "1")
    command = python("downstream/run.py", *words(advance, out, *more, "--transfer.no-with-scene-loss"))
    done = run_together(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "seed-0" / "summary.json").read_text(encoding="utf-8"))["num_processes"] == 2
    assert 0 <= results(out)["epochs"][0]["f1"] <= 1


@pytest.mark.slow
def test_mistakes_are_said_before_anything_is_heard(advance: Path, tmp_path: Path) -> None:
    torch.save({"model": Path("no tensor")}, tmp_path / "pickled.pth")
    wide = torchvision.models.resnet18(num_classes=5).state_dict()
    torch.save({**wide, "fc.weight": torch.zeros(5, 100)}, tmp_path / "wide.pth")
    for number, (more, sentence) in enumerate(
        (
            (
                ("--transfer.loss", "none", "--transfer.no-with-scene-loss"),
                "transfer.loss none goes with the scene loss",
            ),
            (("--transfer.teacher", "nowhere"), "no teacher at nowhere: no such file or folder"),
            (("--transfer.teacher", "pickled.pth"), "pickled.pth can't be read as weights"),
            (("--transfer.teacher", "wide.pth"), "fc.weight has the shape (5, 100)"),
        )
    ):
        command = words(advance, tmp_path / str(number), "--allow-partial", *more)
        done = run(python("downstream/run.py", *command), cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert "hearing" not in done.stderr
