"""Supervised pre-training on labelled images, and benchmarks that begin from it: the papers on ADVANCE and TAU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import python, run
from pair_folders import write_advance

SMALL = (
    *("--image-size", "32", "--batch-size", "8", "--tracker", "none", "--precision", "fp32"),
    *("--threads", "1", "--workers", "0", "--epochs", "1"),
)


def finish(out: Path, *words: str | Path) -> dict[str, object]:
    done = run(python("downstream/run.py", *words, "--out", out, *SMALL), cwd=out.parent)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def advance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_advance(tmp_path_factory.mktemp("advance") / "root")


def test_one_run_begins_from_another(advance: Path, tmp_path: Path) -> None:
    """`imagenet` stands for the first step of ImageNet → AID, which needs a download; a random one is alike."""
    labelled = ("folder", "--root", advance / "vision")
    finish(tmp_path / "first", *labelled, "--weights", "random", "--backbone", "resnet18")
    second = finish(tmp_path / "second", *labelled, "--weights", tmp_path / "first")
    assert (second["backbone"], second["head_on"]) == ("resnet18", "trunk")
    of_both_towers = ("advance", "--root", advance, "--weights", tmp_path / "first", "--allow-partial")
    refused = run(python("downstream/run.py", *of_both_towers, "--out", tmp_path / "no", *SMALL), cwd=tmp_path)
    assert refused.returncode == 2
    assert "has no towers of Earshot" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_network_of_aid_begins_the_transfer_of_sound_events(advance: Path, tmp_path: Path) -> None:
    tuned = ("--protocol", "tuned", "--train-fraction", "0.6", "--num-seeds", "1", "--optimizer.warmup-epochs", "0")
    finish(tmp_path / "aid", "folder", "--root", advance / "vision", "--backbone", "resnet18", *tuned)
    taught = ("--transfer.loss", "none", "--transfer.sound-backbone", "resnet18", "--transfer.num-frames", "32")
    words = ("advance-transfer", "--root", advance, "--weights", tmp_path / "aid", *taught, "--num-seeds", "1")
    found = finish(tmp_path / "transfer", *words, "--allow-partial")
    assert (found["backbone"], found["weights"]) == ("resnet18", str(tmp_path / "aid"))
    assert isinstance(found["weights_sha256"], str)
