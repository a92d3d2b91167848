"""timm's folders: its configuration, a new classifier, and a bit that differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from released_runs import small_towers, write_run
from safetensors.torch import load_file, save_file
from timm.data import resolve_model_data_config

from pretrain.model import TwoTower
from pretrain.releasing.facts import Facts
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.releasing.timm_folders import check_timm_folder, timm_folders, write_timm_folder
from pretrain.weights.same_embeddings import fixed_probe
from shards.errors import UserError

VIT = {"image_encoder": "timm:vit_tiny_patch16_224", "sound_encoder": "timm:resnet10t", "image_size": 64}


def written(towers: TwoTower, folder: Path) -> None:
    for each in timm_folders(towers)[0]:
        write_timm_folder(folder, each, Facts(folder, towers), {"license": "cc-by-4.0"}, "notice")


def test_timm_knows_how_inputs_are_prepared(tmp_path: Path) -> None:
    towers = small_towers()
    written(towers, tmp_path)
    image, sound = (
        resolve_model_data_config(timm.create_model(f"local-dir:{tmp_path}/{name}-encoder-timm", pretrained=True))
        for name in ("image", "sound")
    )
    assert (image["input_size"], image["crop_pct"]) == ((3, 32, 32), 0.75)
    assert tuple(image["mean"]) == towers.config.image_mean
    assert (sound["input_size"], sound["crop_pct"]) == ((1, 32, 32), 1.0)
    assert (sound["mean"][0] * 255, sound["std"][0] * 255) == (pytest.approx(90), pytest.approx(60))
    record = json.loads((tmp_path / "sound-encoder-timm" / "config.json").read_text())
    assert record["pretrained_cfg"]["license"] == "cc-by-4.0"
    assert record["earshot"]["preprocessing"]["average_pooling_after"] == 4


@pytest.mark.parametrize("changes", [{}, VIT])
def test_a_new_classifier_is_put_on_the_same_features(changes: dict[str, str], tmp_path: Path) -> None:
    towers = small_towers(**changes)
    written(towers, tmp_path)
    network = timm.create_model(f"local-dir:{tmp_path}/image-encoder-timm", pretrained=True, num_classes=10).eval()
    images = towers.prepare_images(fixed_probe(towers.config).images)
    with torch.inference_mode():
        features = network.forward_head(network.forward_features(images), pre_logits=True)
        assert torch.equal(features, towers.image_tower.trunk(images))
        assert network(images).shape == (4, 10)


def test_a_weight_that_differs_is_seen(tmp_path: Path) -> None:
    towers = small_towers(image_encoder="narrow-resnet10")
    written(towers, tmp_path)
    (image, sound), missing = timm_folders(towers)
    probes = [fixed_probe(towers.config)]
    assert missing == []
    assert check_timm_folder(tmp_path, image, towers, probes).endswith("within 1e-05 of the largest feature")
    assert check_timm_folder(tmp_path, sound, towers, probes) == "sound-encoder-timm by timm, bit for bit"
    for folder, tensor, change in ((image, "layer4.0.bn2.bias", 1e-2), (sound, "bn1.running_mean", 1e-5)):
        path = tmp_path / folder.name / "model.safetensors"
        state = load_file(path)
        state[tensor] += change
        save_file(state, path)
        with pytest.raises(UserError, match=f"{folder.modality} features of random inputs by timm from"):
            check_timm_folder(tmp_path, folder, towers, probes)


def test_an_untrained_sound_encoder_says_so(tiny_shards: Path, tmp_path: Path) -> None:
    towers = small_towers(sound_trained=False)
    release(ReleaseOptions(write_run(tmp_path / "run", tiny_shards, towers, method="simclr"), tmp_path / "out"))
    for name, words in (("sound", "with initial weights: it was never trained"), ("image", "trained with Earshot")):
        assert words in (tmp_path / "out" / f"{name}-encoder-timm" / "README.md").read_text()
