"""Scenes by eye and ear as a user runs them: ADVANCE's layout of real images and sounds, results, mistakes, resume."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import soundfile
import torch
from commands import python, run

from downstream.audiovisual.advance import PAIRS_OF_CLASS
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.sources.metadata_table import read_table
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS

SCENES = {"beach": "beach", "forest": "forest", "farmland": "farmland", "residential": "residential"}
"""Classes of the real soundscapes that ADVANCE has too."""
CLIPS_OF_LOCATION = 2
CLIPS_OF_CLASS = 16
SMALL = ("--tracker", "none", "--workers", "0", "--precision", "fp32", "--threads", "1")


@pytest.fixture(scope="module")
def advance(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 real pairs in ADVANCE's layout: two clips a location, cut from one recording."""
    root, corpus = tmp_path_factory.mktemp("advance") / "root", real_data / "soundscapes"
    taken: Counter[str] = Counter()
    for _, row in read_table(corpus).rows:
        name = SCENES.get(row["scene"])
        if name is None or taken[name] == CLIPS_OF_CLASS:
            continue
        waveform, rate = soundfile.read(corpus / "audio" / row["mp3name"])
        for clip in range(CLIPS_OF_LOCATION):
            stem = row["key"].zfill(5) + (f"_{clip}" if clip else "")
            image, sound = root / "vision" / name / f"{stem}.jpg", root / "sound" / name / f"{stem}.wav"
            for path in (image, sound):
                path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(corpus / "images" / f"{row['key']}.jpg", image)
            start = clip * len(waveform) // 4
            soundfile.write(sound, waveform[start:], rate)
            taken[name] += 1
    assert set(taken.values()) == {CLIPS_OF_CLASS}
    return root


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of small inputs, untrained, so that a pair takes milliseconds."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("towers") / "model"
    TwoTower(TwoTowerConfig(image_size=32, sound_pooling=4)).save_pretrained(folder)
    return folder


TUNED = ("--allow-partial", "--protocol", "tuned")
WHOLE = ("--allow-partial", "--image-size", "64")
"""Protocol paper, at images of a quarter of its size."""


def save_other_towers(folder: Path) -> None:
    """Towers that were trained on spectrograms whose settings are not published."""
    config = TwoTowerConfig(image_size=32, sound_pooling=4, spectrogram=RELEASED_SPECTROGRAMS)
    TwoTower(config).save_pretrained(folder)


def words(root: Path, weights: Path | str, out: Path, *more: str) -> list[str]:
    return python("downstream/run.py", "advance", "--root", root, "--weights", weights, "--out", out, *SMALL, *more)


@pytest.mark.parametrize("split", ["stratified", pytest.param("grouped", marks=pytest.mark.slow)])
def test_results_of_real_pairs(split: str, advance: Path, towers: Path, tmp_path: Path) -> None:
    done = run(words(advance, towers, tmp_path / "out", *TUNED, "--split", split), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert (results["protocol"], results["details"]["view"]) == (
        *("tuned", "central 3/4 of the image, 5 crops of the sound"),
    )
    (entry,) = results["epochs"]
    for name in ("image", "sound", "mean", "concatenation"):
        for score in ("precision", "recall", "f1"):
            assert 0 <= entry[name][score] <= 1
            assert entry[name][f"{score}_sd"] >= 0
    # Real scenes differ so much in colour that even untrained towers beat chance, which is 0.25.
    assert entry["image"]["recall"] > 0.4
    leak = results["details"]["test_clips_sharing_a_recording_with_training"]
    assert leak["grouped"]["num_shared"] == [0] * 5
    assert min(leak["stratified"]["num_shared"]) > 5
    assert "split stratified: " in done.stdout
    assert "split grouped: 0 of " in done.stdout
    assert results["notes"] == [next(line for line in done.stdout.splitlines() if line.startswith("64 of 5075 pairs"))]
    assert [draw["seed"] for draw in results["details"]["seeds"]] == [0, 42, 84, 126, 168]
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if row["split_seed"] == "0"]
    assert len(first) == results["num_test"]
    right = sum(row["concatenation"] == row["class"] for row in first) / len(first)
    assert right == pytest.approx(results["details"]["seeds"][0]["concatenation"]["accuracy"])
    assert (tmp_path / "out" / "confusion_matrix.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on_sphere", "penalty", "strength"), [(False, (), 1.0), (True, (), None), (True, ("l2",), 1.0)]
)
def test_the_protocol_of_the_paper(
    on_sphere: bool, penalty: tuple[str, ...], strength: float | None, advance: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    TwoTower(TwoTowerConfig(image_size=32, sound_pooling=4, on_sphere=on_sphere)).save_pretrained(tmp_path / "towers")
    more = (*WHOLE, *(("--penalty", *penalty) if penalty else ()))
    done = run(words(advance, tmp_path / "towers", tmp_path / "out", *more), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert (results["protocol"], results["details"]["view"]) == ("paper", "whole image, whole sound")
    assert (results["details"]["image_size"], "grid" in results["details"]) == (64, False)
    for draw in results["details"]["seeds"]:
        assert {draw[name]["regularisation"] for name in ("image", "sound", "mean", "concatenation")} == {strength}
    assert results["epochs"][0]["image"]["recall"] > 0.3


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_from_its_embeddings(advance: Path, towers: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(words(advance, towers, out, *WHOLE), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = json.loads((out / "results.json").read_text(encoding="utf-8"))
    finished = run(python("downstream/run.py", "--resume", out), cwd=tmp_path)
    assert finished.returncode != 0
    assert "nothing to resume" in finished.stderr
    (out / "results.json").unlink()
    resumed = run(python("downstream/run.py", "--resume", out), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "embedding:" not in resumed.stderr
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert again["epochs"] == whole["epochs"]


@pytest.mark.slow
def test_mistakes_are_said_before_anything_is_embedded(advance: Path, towers: Path, tmp_path: Path) -> None:
    save_other_towers(tmp_path / "other")
    for number, (weights, more, sentence) in enumerate(
        (
            (towers, (), f"64 of {sum(PAIRS_OF_CLASS.values())} pairs; airport has 0 of 185"),
            ("imagenet", ("--allow-partial",), "needs an image and a sound tower, got imagenet"),
            (tmp_path / "other", ("--allow-partial",), "the model was trained with sample_rate_hz None"),
            (towers, ("--allow-partial", "--protocol", "knn"), "protocol must be paper or tuned for advance"),
            (towers, (*TUNED, "--penalty", "none"), "penalty has no effect under tuned"),
            (towers, ("--allow-partial", "--train-fraction", "0.5"), "train_fraction has no effect on advance"),
        )
    ):
        done = run(words(advance, weights, tmp_path / str(number), *more), cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert "embedding:" not in done.stderr


@pytest.mark.slow
def test_forced_spectrograms_and_corrupt_pairs_are_noted(advance: Path, tmp_path: Path) -> None:
    save_other_towers(tmp_path / "other")
    root = tmp_path / "root"
    shutil.copytree(advance, root)
    corrupt = sorted((root / "sound" / "beach").iterdir())[0]
    corrupt.write_bytes(b"not a sound")
    refused = run(words(root, tmp_path / "other", tmp_path / "a", *TUNED, "--force"), cwd=tmp_path)
    assert refused.returncode == 2
    assert f"more than max_corrupt 0.01; the first: beach/{corrupt.stem}: undecodable sound" in refused.stderr
    allowed = words(root, tmp_path / "other", tmp_path / "b", *TUNED, "--force", "--max-corrupt", "0.05")
    done = run(allowed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notes = json.loads((tmp_path / "b" / "results.json").read_text(encoding="utf-8"))["notes"]
    assert any(note.startswith(f"not used: beach/{corrupt.stem}: undecodable sound") for note in notes)
    forced = "forced: the sound tower was trained on spectrograms of another kind"
    assert f"{forced}; the scale was converted, log-mel to exp-log-mel/10" in notes
