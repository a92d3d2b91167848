"""The model folder: swapped in as a whole, put back after a kill, and whole on a full disk."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from commands import python_with_small_files

from pretrain.model import TwoTower, refuse_other_spectrograms
from pretrain.model_config import TwoTowerConfig
from pretrain.model_files import find_model_folder
from pretrain.weights.encoder_weights import load_encoder, rasters_of_weights
from pretrain.weights.model_folder import restore_model_folder, write_model_folder
from shards.errors import UserError
from shards.raster_settings import RasterSettings
from shards.schema import SpectrogramScale, SpectrogramSettings

WRITE_A_SECOND_ONE = """
import sys
from pathlib import Path
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.weights.model_folder import write_model_folder
from shards.errors import UserError
try:
    write_model_folder(Path(sys.argv[1]), TwoTower(TwoTowerConfig()), "# the second")
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(TwoTowerConfig(image_size=32, sound_pooling=4, spectrogram_mean=100.0, norm="group")).eval()


def test_it_gives_the_same_embeddings_back(towers: TwoTower, tmp_path: Path) -> None:
    folder = write_model_folder(tmp_path, towers, "# a card\n")
    again = TwoTower.from_pretrained(tmp_path)
    assert again.config == towers.config
    assert not again.training
    images = torch.randint(0, 256, (3, 3, 40, 50), dtype=torch.uint8)
    sounds = torch.randint(0, 256, (3, 1, 128, 160), dtype=torch.uint8)
    assert torch.equal(again.encode_image(images), towers.encode_image(images))
    assert torch.equal(again.encode_sound(sounds), towers.encode_sound(sounds))
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_bytes_and_normalised_values_are_the_same_input(towers: TwoTower) -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    normalised = (images / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.testing.assert_close(towers.encode_image(images), towers.encode_image(normalised))
    sounds = torch.randint(0, 256, (2, 1, 128, 128), dtype=torch.uint8)
    torch.testing.assert_close(towers.encode_sound(sounds), towers.encode_sound((sounds - 100.0) / 50.0))


def test_trunks_have_the_keys_of_torchvision(towers: TwoTower) -> None:
    import torchvision

    batch_norm = TwoTower(TwoTowerConfig())
    theirs = {name for name in torchvision.models.resnet18().state_dict() if not name.startswith("fc.")}
    assert set(batch_norm.image_tower.trunk.state_dict()) == theirs
    assert set(batch_norm.sound_tower.trunk.state_dict()) == theirs


def test_a_kill_between_two_renames_loses_nothing(towers: TwoTower, tmp_path: Path) -> None:
    write_model_folder(tmp_path, towers, "# a card\n")
    os.replace(tmp_path / "model", tmp_path / ".model.former")
    restore_model_folder(tmp_path)
    assert TwoTower.from_pretrained(tmp_path).config == towers.config


def test_a_full_disk_leaves_the_former_model(towers: TwoTower, tmp_path: Path) -> None:
    write_model_folder(tmp_path, towers, "# the first\n")
    message = python_with_small_files(WRITE_A_SECOND_ONE, tmp_path, most_bytes=100_000)
    assert "the model can't be written" in message
    assert (tmp_path / "model" / "README.md").read_text() == "# the first\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    TwoTower.from_pretrained(tmp_path)


def test_what_is_no_model_gets_a_sentence(towers: TwoTower, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights at .*nowhere: no such folder"):
        find_model_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="give a run folder"):
        find_model_folder(tmp_path)
    folder = write_model_folder(tmp_path, towers, "")
    (folder / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(UserError, match="can't be loaded"):
        TwoTower.from_pretrained(tmp_path)
    (folder / "config.json").write_text('{"format_version": 99}')
    with pytest.raises(UserError, match="format_version is 99"):
        TwoTower.from_pretrained(tmp_path)


def test_other_spectrograms_are_refused_by_name() -> None:
    ours = SpectrogramSettings()
    refuse_other_spectrograms(ours, ours, "S")
    theirs = SpectrogramSettings(hop_samples=160)
    wanted = r"hop_samples 160, but the model was .* hop_samples 400; use shards built with --spectrogram earshot-16k"
    with pytest.raises(UserError, match=wanted):
        refuse_other_spectrograms(ours, theirs, "S")
    scaled = SpectrogramSettings(scale=SpectrogramScale("exp-log-mel/10", 0.2, 1.6))
    with pytest.raises(UserError, match="scale"):
        refuse_other_spectrograms(ours, scaled, "S")


FOUR_BANDS = RasterSettings((4, 3, 2), (310.0, 4120.0), "corpus")


def test_how_rasters_became_rgb_is_kept_with_the_weights(towers: TwoTower, tmp_path: Path) -> None:
    model = TwoTower(dataclasses.replace(towers.config, rasters=FOUR_BANDS))
    write_model_folder(tmp_path, model, "")
    assert TwoTower.from_pretrained(tmp_path).config.rasters == FOUR_BANDS
    for weights in (tmp_path, tmp_path / "model", tmp_path / "model" / "model.safetensors"):
        assert load_encoder(str(weights)).rasters == FOUR_BANDS
        assert rasters_of_weights(str(weights)) == FOUR_BANDS
    record = json.loads((tmp_path / "model" / "config.json").read_text())
    assert RasterSettings.from_dict(record["rasters"]) == FOUR_BANDS
    image = record["preprocessing"]["image"]
    assert image["raster_bands"] == [4, 3, 2]
    assert image["raster_scale"] == "310 to 4120, to 0 to 255; 8-bit values as they are"
    assert "central half" in image["stored_part"]


def test_a_config_without_rasters_scales_each_image_by_itself(towers: TwoTower, tmp_path: Path) -> None:
    write_model_folder(tmp_path, towers, "")
    record = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "rasters" not in record
    assert record["preprocessing"]["image"]["raster_scale"].startswith("2nd to 98th percentile")
    assert TwoTower.from_pretrained(tmp_path).config.rasters == RasterSettings()
    assert load_encoder(str(tmp_path)).rasters == RasterSettings()
    assert rasters_of_weights(str(tmp_path)) == rasters_of_weights("random") == RasterSettings()
