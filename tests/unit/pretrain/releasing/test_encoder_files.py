"""Encoder files: strict loading by torchvision and timm with no key changed, and that a bit that differs is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from released_runs import WIDE, small_towers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from pretrain.model import TwoTower
from pretrain.releasing.encoder_files import check_encoder, encoder_files, write_encoder
from pretrain.weights.encoder_weights import load_encoder
from pretrain.weights.same_embeddings import check_towers, fixed_probe
from shards.errors import UserError


def written(towers: TwoTower, folder: Path) -> list[str]:
    """Writes both trunks; the libraries that loaded each again."""
    for file in encoder_files(towers):
        write_encoder(folder, file, towers)
    return [", ".join(check_encoder(folder, f, towers, [fixed_probe(towers.config)])) for f in encoder_files(towers)]


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    return small_towers()


def test_the_literal_calls_load_the_image_trunk(towers: TwoTower, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    assert written(towers, tmp_path) == ["torchvision, timm, pretrain.weights.encoder_weights", "torchvision, timm"]
    path = tmp_path / "image_trunk.safetensors"
    theirs = torchvision.models.resnet18()
    theirs.load_state_dict(load_file(path))
    assert set(load_file(path)) == set(theirs.state_dict())
    timms = timm.create_model("resnet18", checkpoint_path=str(path))
    images = fixed_probe(towers.config).images
    with torch.inference_mode():
        assert not theirs.eval()(towers.prepare_images(images)).any()  # the classifier is zeros, and says so:
        theirs.fc = nn.Identity()
        timms.reset_classifier(0)
        features = towers.image_tower.trunk(towers.prepare_images(images))
        assert torch.equal(theirs(towers.prepare_images(images)), features)
        assert torch.equal(timms.eval()(towers.prepare_images(images)), features)
    with safe_open(path, "pt") as file:
        assert "zeros" in file.metadata()["fc"]


@pytest.mark.parametrize("changes", [{"norm": "group"}, {"image_encoder": "resnet50"}, {"norm": "sync"}])
def test_other_networks_of_torchvision_load_too(changes: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("timm")
    image, sound = written(small_towers(**changes), tmp_path)
    assert image.startswith("torchvision, timm")
    assert sound == "torchvision, timm"


def test_widths_that_only_earshot_has_are_written_without_a_classifier(tmp_path: Path) -> None:
    towers = small_towers(**WIDE)
    assert written(towers, tmp_path) == ["", ""]
    state = load_file(tmp_path / "image_trunk.safetensors")
    assert state.keys() == towers.image_tower.trunk.state_dict().keys()
    state["layer1.0.conv1.weight"] += 1e-6
    save_file(state, tmp_path / "image_trunk.safetensors")
    with pytest.raises(UserError, match=r"layer1\.0\.conv1\.weight of image_trunk\.safetensors differ"):
        check_encoder(tmp_path, encoder_files(towers)[0], towers, [])


@pytest.mark.parametrize("name", ["image_trunk.safetensors", "sound_trunk.safetensors"])
def test_a_bit_that_differs_is_seen(towers: TwoTower, name: str, tmp_path: Path) -> None:
    written(towers, tmp_path)
    state = load_file(tmp_path / name)
    state["bn1.running_mean"][0] += 1e-5
    save_file(state, tmp_path / name)
    file = next(file for file in encoder_files(towers) if file.name == name)
    with pytest.raises(UserError, match="differ from those of the weights in memory"):
        check_encoder(tmp_path, file, towers, [fixed_probe(towers.config)])


def test_what_can_not_be_loaded_gets_a_sentence(towers: TwoTower, tmp_path: Path) -> None:
    written(towers, tmp_path)
    file = encoder_files(towers)[0]
    path = tmp_path / file.name
    state = load_file(path)
    del state["fc.bias"]
    save_file(state, path)
    with pytest.raises(UserError, match=r"image_trunk\.safetensors can't be loaded back.*fc\.bias"):
        check_encoder(tmp_path, file, towers, [])
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"image_trunk\.safetensors can't be loaded back"):
        check_encoder(tmp_path, file, towers, [])
    with pytest.raises(UserError, match="can't be read as weights"):
        load_encoder(str(path))


def test_towers_of_another_folder_are_not_taken_for_these(towers: TwoTower, tmp_path: Path) -> None:
    towers.save_pretrained(tmp_path)
    check_towers(tmp_path, towers, [fixed_probe(towers.config)])
    with pytest.raises(UserError, match=r"image embeddings of random inputs by TwoTower\.from_pretrained differ"):
        check_towers(tmp_path, small_towers(seed=2), [fixed_probe(towers.config)])
    broken = small_towers()
    with torch.no_grad():
        broken.sound_tower.projection.bias[0] = torch.nan
    with pytest.raises(UserError, match=r"sound embeddings of random inputs .* are not finite"):
        check_towers(tmp_path, broken, [fixed_probe(towers.config)])


def test_downstream_takes_the_file_and_normalises_as_the_release_says(tmp_path: Path) -> None:
    towers = small_towers(image_mean=(0.1, 0.2, 0.3), image_std=(0.5, 0.6, 0.7))
    towers.save_pretrained(tmp_path)
    written(towers, tmp_path)
    trunk = load_encoder(str(tmp_path / "image_trunk.safetensors"))
    assert (trunk.backbone, trunk.mean, trunk.std) == ("resnet18", (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert trunk.unused == ["fc.bias", "fc.weight"]
    with pytest.raises(UserError, match=r"conv1\.weight has shape \(64, 1, 7, 7\)"):
        load_encoder(str(tmp_path / "sound_trunk.safetensors"))
