"""Sound encoders of `transformers` through building, pre-training, evaluation and release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import SMALL_INPUTS, python, run
from pair_folders import write_table
from safetensors.torch import load_file
from transformers_folders import save_ast, save_clap

from pretrain.model import TwoTower
from pretrain.weights.encoder_weights import load_encoder

OFFLINE = {"HF_HUB_OFFLINE": "1"}
FRAMES = ["--model.sound-pooling", "1", "--data.num-frames", "128"]


def write_corpus(root: Path) -> Path:
    """Real files, with coordinates."""
    write_table(root)
    lines = (root / "metadata.csv").read_text(encoding="utf-8").splitlines()
    placed = [f"{line},{'longitude,latitude' if number == 0 else '11.5,48.1'}" for number, line in enumerate(lines)]
    (root / "metadata.csv").write_text("\n".join(placed) + "\n", encoding="utf-8")
    return root


def finish(script: str, *words: str | Path, cwd: Path) -> None:
    """Runs a command that must succeed."""
    result = run(python(script, *words), cwd=cwd, **OFFLINE)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("kind", "front_end", "bands"), [("ast", "ast-16k", 128), ("clap", "clap-48k", 64)])
def test_from_sounds_to_a_release_that_needs_its_folder_no_more(
    kind: str, front_end: str, bands: int, tmp_path: Path
) -> None:
    corpus, source, shards = write_corpus(tmp_path / "corpus"), tmp_path / "network", tmp_path / "shards"
    theirs = save_ast(source) if kind == "ast" else save_clap(source)
    name = f"transformers:{source}"
    build = ["build", "--source", "recordings", "--root", corpus, "--out", shards, "--split-by", "random"]
    finish("shards/run.py", *build, "--spectrogram", front_end, cwd=tmp_path)
    if kind == "clap":  # 64 bands
        finish("shards/run.py", "verify", shards, cwd=tmp_path)
    words = ["--shards", shards, "--out", "run", *SMALL_INPUTS, "--model.sound-encoder", name]
    words += ["--model.freeze", "sound"]
    words += ["--model.sound-init", "pretrained", *FRAMES, "--epochs", "1"]
    pooled = run(python("pretrain/run.py", *words, "--model.sound-pooling", "2"), cwd=tmp_path, **OFFLINE)
    assert f"model.sound_pooling must be 1 with {name}, which takes the spectrograms of {front_end}" in pooled.stderr
    finish("pretrain/run.py", *words, cwd=tmp_path)
    if kind == "ast":
        finish("pretrain/run.py", "--resume", "run", "--epochs", "2", cwd=tmp_path)

    state = load_file(tmp_path / "run/model/model.safetensors")
    expected = theirs.audio_spectrogram_transformer if kind == "ast" else theirs.audio_model
    fixed = {key: value for key, value in expected.state_dict().items() if "position" not in key}
    assert all(torch.equal(state[f"sound_tower.trunk.network.{key}"], value) for key, value in fixed.items())

    evaluate = ["evaluate", "--weights", "run", "--shards", shards, "--split", "val", "--out", "retrieval"]
    evaluate += ["--crops", "1"]
    finish("retrieval/run.py", *evaluate, cwd=tmp_path)
    finish("pretrain/run.py", "release", "run", "--out", "release", "--results", "retrieval", cwd=tmp_path)
    shutil.rmtree(source)
    config = TwoTower.from_pretrained(tmp_path / "release").config
    assert config.spectrogram.mel_bands == bands
    assert config.sound_encoder_config is not None
    embed = ["embed", "--weights", "release", "--sounds", corpus / "audio", "--out", "sounds.npz", "--crops", "1"]
    finish("retrieval/run.py", *embed, cwd=tmp_path)
    trunk = load_encoder(str(tmp_path / "release/sound_trunk.safetensors"), channels=(1,))
    assert trunk.backbone == name
    record = json.loads((tmp_path / "release/config.json").read_text())
    assert record["preprocessing"]["sound"]["shape"] == [1, bands, 128]


def test_other_shards_are_refused_with_the_command(tiny_shards: Path, tmp_path: Path) -> None:
    save_clap(tmp_path / "clap")
    words = [
        "--shards",
        tiny_shards,
        "--out",
        "run",
        *SMALL_INPUTS,
        "--model.sound-encoder",
        f"transformers:{tmp_path / 'clap'}",
    ]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path, **OFFLINE)
    assert result.returncode == 2
    assert "build the shards with: python shards/run.py build --spectrogram clap-48k …" in result.stderr
