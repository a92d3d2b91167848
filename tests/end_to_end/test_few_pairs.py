"""`few-pairs` on real sounds, images and released weights, from recordings to retrieval; and what does not fit."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import python, run
from conftest import REPOSITORY, missing

from pretrain.model import TwoTower
from pretrain.weights.encoder_weights import load_encoder

WEIGHTS = REPOSITORY.parent / "shared" / "weights"
LITE0 = WEIGHTS / "tf_efficientnet_lite0-imagenet.safetensors"
MN04 = WEIGHTS / "efficientat-mn04-audioset.safetensors"
FEW = ["--data.image-size", "64", "--data.feature-views", "1", "--epochs", "4", "--batch-size", "16"]
FEW += ["--tracker", "none", "--threads", "1", "--data.workers", "0"]
NUM_PAIRS = 60


@pytest.fixture(scope="module")
def corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first real pairs."""
    source, root = real_data / "soundscapes", tmp_path_factory.mktemp("corpus") / "corpus"
    with (source / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:NUM_PAIRS]
    for folder in ("images", "audio"):
        (root / folder).mkdir(parents=True)
    for row in rows:
        shutil.copy(source / "images" / f"{row['key']}.jpg", root / "images")
        shutil.copy(source / "audio" / row["mp3name"], root / "audio")
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def build(corpus: Path, out: Path, *more: str) -> Path:
    words = ["build", "--source", "recordings", "--root", corpus, "--out", out, *more]
    result = run(python("shards/run.py", *words), cwd=out.parent)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def shards(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(corpus, tmp_path_factory.mktemp("shards") / "shards", "--spectrogram", "audioset-32k")


def test_real_pairs_and_released_weights_become_a_run_like_any_other(
    shards: Path, corpus: Path, tmp_path: Path
) -> None:
    if not LITE0.is_file():
        missing("weights", "released weights are not at ../shared/weights")
    out = tmp_path / "run"
    words = ["few-pairs", "--shards", shards, "--out", out, "--model.image-init", LITE0, "--model.sound-init", MN04]
    result = run(python("pretrain/run.py", *words, *FEW), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert losses[-1] < losses[0]
    config = TwoTower.from_pretrained(out).config
    assert (config.image_mean, config.num_frames, config.embedding_dim) == ((0.5, 0.5, 0.5), 1000, 256)
    # Bytes are normalised as EfficientAT normalises values: (value + 4.5) / 5.
    step = (config.spectrogram.scale.high - config.spectrogram.scale.low) / 255
    assert config.spectrogram.scale.low + config.spectrogram_mean * step == pytest.approx(-4.5)
    assert config.spectrogram_std * step == pytest.approx(5.0)

    evaluate = ["evaluate", "--weights", out, "--shards", shards, "--split", "test", "--out", tmp_path / "retrieval"]
    result = run(python("retrieval/run.py", *evaluate), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "retrieval" / "report.html").is_file()
    embed = ["embed", "--weights", out, "--sounds", corpus / "audio", "--out", tmp_path / "sounds.npz"]
    result = run(python("retrieval/run.py", *embed), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert np.load(tmp_path / "sounds.npz")["embeddings"].shape == (NUM_PAIRS, 256)
    release = ["release", out, "--out", tmp_path / "release", "--results", tmp_path / "retrieval"]
    result = run(python("pretrain/run.py", *release), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "licences of the recordings" not in result.stdout + result.stderr
    loaded = load_encoder(str(tmp_path / "release" / "sound_trunk.safetensors"), channels=(1,))
    assert loaded.backbone == "mn04"
    card = (out / "model" / "README.md").read_text()
    assert "32000 Hz, window 800, hop 320 samples" in card
    assert "(n, 1, 128, 1000)" in card
    assert "projections trained without labels on frozen encoders" in card
    assert "| frozen encoders | image, sound |" in card


def test_shards_of_another_front_end_are_refused_with_the_command(corpus: Path, shards: Path, tmp_path: Path) -> None:
    other = build(corpus, tmp_path / "other")
    result = run(
        python("pretrain/run.py", "few-pairs", "--shards", other, "--out", tmp_path / "run", *FEW), cwd=tmp_path
    )
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == (
        f"error: model.sound_encoder mn04 takes spectrograms of audioset-32k, those of {other} are of earshot-16k; "
        "build the shards with: python shards/run.py build --spectrogram audioset-32k …"
    )
    # A model is not fed other spectrograms than it was trained on either.
    words = ["demo", "--shards", other, "--out", tmp_path / "run", *FEW, "--epochs", "0"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    words = ["evaluate", "--weights", tmp_path / "run", "--shards", shards, "--out", tmp_path / "retrieval"]
    result = run(python("retrieval/run.py", *words), cwd=tmp_path)
    assert "use shards built with --spectrogram earshot-16k, or --force" in result.stderr


def test_weights_that_are_not_there_are_named_with_their_source(shards: Path, tmp_path: Path) -> None:
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "TORCH_HOME": str(tmp_path),
        "https_proxy": "127.0.0.1:9",
    }
    words = ["few-pairs", "--shards", shards, "--out", tmp_path / "run", *FEW]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path, **offline)
    assert result.returncode == 2
    assert "timm's weights of tf_efficientnet_lite0 can't be downloaded" in result.stderr
    assert "https://huggingface.co/timm/tf_efficientnet_lite0.in1k and give the file" in result.stderr
    words += ["--model.image-init", "random"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path, **offline)
    assert result.returncode == 2
    assert "the AudioSet weights of mn04 are not in" in result.stderr
    assert "EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_front_end_that_is_not_known_is_refused_with_the_choices(corpus: Path, tmp_path: Path) -> None:
    words = ["build", "--source", "recordings", "--root", corpus, "--out", tmp_path / "s"]
    result = run(python("shards/run.py", *words, "--spectrogram", "audioset-32"), cwd=tmp_path)
    assert result.returncode == 2
    assert "unknown --spectrogram 'audioset-32'; did you mean 'audioset-32k'?" in result.stderr
    words[2] = "soundingearth"
    result = run(python("shards/run.py", *words, "--spectrogram", "audioset-32k"), cwd=tmp_path)
    assert result.returncode == 2
    assert "--spectrogram audioset-32k is not possible with --source soundingearth" in result.stderr
