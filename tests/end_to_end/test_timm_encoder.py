"""A vision transformer of timm, and an encoder of a user's own, through every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from commands import SMALL_INPUTS, python, run
from safetensors.torch import load_file, save_file
from scene_folders import write_scenes

from pretrain.model import TwoTower
from pretrain.releasing.encoder_files import encoder_files
from pretrain.weights.same_embeddings import fixed_probe
from shards.registry import PLUGINS_VARIABLE

VIT = "timm:test_vit"
NUM_BLOCKS = 6

STILL = ["--optimizer.learning-rate", "1e-8", "--optimizer.weight-decay", "0"]
"""Steps so small that a weight which training started from is found again."""

SCENES = [
    *("--protocol", "tuned", "--num-seeds", "1", "--epochs", "2", "--image-size", "32", "--batch-size", "8"),
    *("--workers", "0", "--threads", "1", "--precision", "fp32", "--tracker", "none"),
]

OUTSIDE = """
from pretrain.encoders.encoder import Encoder
from torch import nn


class Small(Encoder):
    num_features = 8

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 8, stride=8)

    def feature_map(self, inputs):
        return self.conv(inputs).relu()

    def layers(self):
        return [["conv.weight", "conv.bias"]]


def build(*, channels, input_size, norm):
    return Small(channels)
"""


def finish(script: str, *words: str | Path, cwd: Path) -> None:
    """Runs a command that must succeed."""
    result = run(python(script, *words), cwd=cwd)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as timm saves them, of the network at its published size of 160 pixels."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("timm") / "test_vit.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def vit_run(timm_file: Path, tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run at 32 pixels that started from that file."""
    folder = tmp_path_factory.mktemp("vit")
    words = ["--shards", tiny_shards, "--out", "run", *SMALL_INPUTS, *STILL, "--epochs", "1"]
    finish("pretrain/run.py", *words, "--model.image-encoder", VIT, "--model.image-init", timm_file, cwd=folder)
    return folder / "run"


def test_pre_training_starts_from_the_weights_that_timm_saved(vit_run: Path, timm_file: Path) -> None:
    config = yaml.safe_load((vit_run / "config.yaml").read_text())
    assert config["model"]["image_encoder"] == VIT
    published = load_file(timm_file)
    own = TwoTower.from_pretrained(vit_run).image_tower.trunk.published_state()
    assert set(published) - set(own) == {"head.weight", "head.bias"}
    for name, value in own.items():
        if name == "pos_embed":  # resampled from 10 x 10 to 2 x 2 patches
            assert value.shape != published[name].shape
        else:
            torch.testing.assert_close(value, published[name], rtol=0, atol=1e-5, msg=name)


def test_tuning_moves_the_last_block_more_than_the_first(vit_run: Path, tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "scenes")
    words = ["folder", "--root", root, "--weights", vit_run, "--out", "out", *SCENES]
    finish("downstream/run.py", *words, cwd=tmp_path)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["backbone"], results["protocol"]) == (VIT, "tuned")

    before = TwoTower.from_pretrained(vit_run).image_tower.trunk.published_state()
    tuned = load_file(tmp_path / "out" / "model" / "model.safetensors")
    moved = []
    for block in range(NUM_BLOCKS):
        name = f"blocks.{block}.mlp.fc1.weight"
        (key,) = (key for key in tuned if key.endswith(name))
        moved.append(float((tuned[key] - before[name]).abs().mean()))
    assert 0 < moved[0] < 0.7 * moved[-1]
    assert moved == sorted(moved)


def test_activation_maps_of_a_class_token_are_refused(vit_run: Path, tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "scenes")
    words = ["folder", "--root", root, "--weights", vit_run, "--out", "out", *SCENES, "--explain", "2"]
    result = run(python("downstream/run.py", *words), cwd=tmp_path)
    assert "activation maps need an encoder whose features are the mean of its feature map" in (
        result.stdout + result.stderr
    )
    assert "Traceback" not in result.stderr
    assert result.returncode == 2
    # Before anything is trained.
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_release_is_loaded_with_equal_embeddings_and_evaluated(
    vit_run: Path, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish("pretrain/run.py", "release", vit_run, "--out", tmp_path / "released", cwd=tmp_path)
    trained, released = TwoTower.from_pretrained(vit_run), TwoTower.from_pretrained(tmp_path / "released")
    probe = fixed_probe(trained.config)
    with torch.inference_mode():
        assert torch.equal(released.encode_image(probe.images), trained.encode_image(probe.images))
        assert torch.equal(released.encode_sound(probe.sounds), trained.encode_sound(probe.sounds))

    # timm alone loads the encoder's file, by the lines that the model card gives.
    code = encoder_files(trained)[0].timm_code
    assert "earshot" not in code
    assert code in (tmp_path / "released" / "README.md").read_text()
    monkeypatch.chdir(tmp_path / "released")
    scope: dict[str, Any] = {}
    exec(code, scope)
    inputs = trained.prepare_images(probe.images)
    with torch.inference_mode():
        assert torch.equal(scope["trunk"].eval()(inputs), trained.image_tower.trunk(inputs))

    words = ["--shards", tiny_shards, "--split", "test", "--crops", "1"]
    for weights, out in ((vit_run, "of_run"), (tmp_path / "released", "of_release")):
        finish("retrieval/run.py", "evaluate", "--weights", weights, *words, "--out", out, cwd=tmp_path)
    ranks = [json.loads((tmp_path / out / "metrics.json").read_text()) for out in ("of_run", "of_release")]
    assert ranks[0]["gallery_size"] == 24
    assert ranks[0]["image_to_sound"] == ranks[1]["image_to_sound"]


def test_an_encoder_of_ones_own_is_trained_and_loaded_only_if_allowed(tiny_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "module.py").write_text(OUTSIDE)
    own = "my_package.module:build"
    words = ["--shards", tiny_shards, "--out", "run", *SMALL_INPUTS, "--epochs", "1", "--model.image-encoder", own]
    finish("pretrain/run.py", *words, cwd=tmp_path)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["image_encoder"] == own
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["image_encoder"] == own

    evaluate = ["evaluate", "--weights", tmp_path / "run" / "model", "--shards", tiny_shards, "--split", "test"]
    command = python("retrieval/run.py", *evaluate, "--crops", "1", "--out", "ranks")
    refused = run(command, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"uses the model.image_encoder {own}, which is not part of Earshot" in refused.stderr
    assert f"{PLUGINS_VARIABLE}={own}" in refused.stderr
    allowed = run(command, cwd=tmp_path, **{PLUGINS_VARIABLE: own})
    assert allowed.returncode == 0, allowed.stderr


def test_a_name_that_nobody_knows_is_refused_with_the_nearest_one(tiny_shards: Path, tmp_path: Path) -> None:
    words = ["--shards", tiny_shards, "--out", "run", "--model.image-encoder", "resnet81"]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode == 2
    assert "unknown model.image_encoder 'resnet81'; did you mean 'resnet18'?" in result.stderr
    assert "timm:NAME" in result.stderr
    assert not (tmp_path / "run").exists()


def test_best_retrieval_trains_with_smaller_networks(tiny_shards: Path, tmp_path: Path) -> None:
    small = ["--model.image-encoder", "timm:test_convnext", "--model.sound-encoder", "timm:test_convnext2"]
    small += ["--model.image-init", "random", "--model.sound-init", "random", "--data.num-frames", "160"]
    words = ["best-retrieval", "--shards", tiny_shards, "--out", "run", *SMALL_INPUTS, *small]
    words += ["--model.sound-pooling", "1"]
    finish("pretrain/run.py", *words, "--data.image-size", "64", "--epochs", "1", cwd=tmp_path)
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert config["loss"]["label_smoothing"] == 0.1
    assert (config["data"]["right_angles"], config["data"]["flips"]) == (True, True)
