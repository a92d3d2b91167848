"""Where the towers of a run begin: random, from ImageNet's weights, from another run."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.releasing.encoder_files import encoder_files, write_encoder
from pretrain.settings.pretraining import Config, ModelSettings
from pretrain.weights.towers import build_towers
from shards.errors import UserError
from shards.manifest import Manifest
from shards.raster_settings import RasterSettings
from shards.streaming.reading import ShardSet


@pytest.fixture
def manifest(tiny_shards: Path) -> Manifest:
    return ShardSet.open(tiny_shards).manifest


def towers(manifest: Manifest, **model: object) -> TwoTower:
    torch.manual_seed(0)
    config = replace(Config(), model=replace(ModelSettings(), **model))  # type: ignore[arg-type]
    return build_towers(config, manifest, on_sphere=True)


@pytest.fixture
def imagenet_like(tmp_path: Path) -> Path:
    torch.manual_seed(7)
    path = tmp_path / "resnet18-like.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def test_both_trunks_begin_from_imagenet_s_weights(manifest: Manifest, imagenet_like: Path) -> None:
    built = towers(manifest, image_init="imagenet", sound_init="imagenet", imagenet_file=imagenet_like)
    given = torch.load(imagenet_like, weights_only=True)
    for name, value in built.image_tower.trunk.state_dict().items():
        assert torch.equal(value, given[name]), name
    for name, value in built.sound_tower.trunk.state_dict().items():
        if name != "conv1.weight":
            assert torch.equal(value, given[name]), name
    # A grey image, the same in three channels, is answered as its one channel.
    grey = torch.randn(2, 1, 64, 64)
    built.eval()
    torch.testing.assert_close(
        built.sound_tower.trunk(grey), built.image_tower.trunk(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("freeze", ["none", "image,sound"])
def test_batch_norms_of_given_weights_keep_their_statistics_if_asked(
    manifest: Manifest, imagenet_like: Path, is_kept: bool, freeze: str
) -> None:
    init = {"image_init": "imagenet", "imagenet_file": imagenet_like, "freeze": freeze}
    built = towers(manifest, keep_statistics=is_kept, **init).train()
    built.unfreeze()
    for tower in (built.image_tower, built.sound_tower):
        tower.eval()
        tower.train()
        weights = {name: value.clone() for name, value in tower.trunk.state_dict().items()}
        inputs = torch.randn(4, 3 if tower is built.image_tower else 1, 64, 64)
        optimizer = torch.optim.SGD(tower.parameters(), lr=0.01)
        features = tower.trunk(inputs)
        features.square().mean().backward()
        optimizer.step()
        changed = {name for name, value in tower.trunk.state_dict().items() if not torch.equal(value, weights[name])}
        assert {"conv1.weight", "layer4.1.bn2.weight"} <= changed
        # Sounds start from random weights, which came with no statistics.
        stays = is_kept and tower is built.image_tower
        assert ({name for name in changed if "running" in name or "tracked" in name} == set()) == stays
        tower.trunk.load_state_dict(weights)
        assert torch.allclose(tower.eval().trunk(inputs), features) == stays


def test_the_projections_are_not_taken(manifest: Manifest, imagenet_like: Path) -> None:
    fresh = towers(manifest)
    built = towers(manifest, image_init=str(imagenet_like))
    assert built.image_tower.projection.weight.shape == fresh.image_tower.projection.weight.shape
    assert not torch.equal(built.image_tower.trunk.conv1.weight, fresh.image_tower.trunk.conv1.weight)


def test_trunks_begin_from_another_run_with_its_normalisation_of_images(manifest: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = TwoTowerConfig(spectrogram=manifest.spectrogram, image_mean=(0.1, 0.2, 0.3), embedding_dim=16)
    other = TwoTower(config)
    other.save_pretrained(tmp_path / "run" / "model")
    run = str(tmp_path / "run")
    built = towers(manifest, image_init=run, sound_init=run)
    for tower in ("image_tower", "sound_tower"):
        ours, theirs = getattr(built, tower).trunk.state_dict(), getattr(other, tower).trunk.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert built.config.image_mean == (0.1, 0.2, 0.3)
    assert built.config.embedding_dim == ModelSettings().embedding_dim


def test_each_trunk_begins_from_a_released_trunk_alone(manifest: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(3)
    other = TwoTower(TwoTowerConfig(spectrogram=manifest.spectrogram, embedding_dim=16)).eval()
    image, sound = encoder_files(other)
    for file in (image, sound):
        write_encoder(tmp_path, file, other)
    built = towers(manifest, image_init=str(tmp_path / image.name), sound_init=str(tmp_path / sound.name))
    for tower in ("image_tower", "sound_tower"):
        ours, theirs = getattr(built, tower).trunk.state_dict(), getattr(other, tower).trunk.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(UserError, match=r"conv1\.weight has shape \(64, 1, 7, 7\), resnet18 needs \(64, 3, 7, 7\)"):
        towers(manifest, image_init=str(tmp_path / sound.name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_init": "nowhere"}, "model.image_init must be random, imagenet, pretrained, or an existing run folder"),
        ({"sound_init": "nowhere"}, "model.sound_init must be random, imagenet, pretrained, or an existing run folder"),
        ({"image_init": "RUN", "image_encoder": "resnet50"}, "holds a resnet18, but the encoder .* is a resnet50"),
        ({"sound_init": "RUN", "sound_encoder": "resnet50"}, "holds a resnet18, but model.sound_encoder is resnet50"),
        ({"image_init": "RUN", "norm": "group"}, "tensor names differ.*normalisation layers of model.norm"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    manifest: Manifest, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    TwoTower(TwoTowerConfig(spectrogram=manifest.spectrogram)).save_pretrained(tmp_path / "run" / "model")
    changes = {name: str(tmp_path / "run") if value == "RUN" else value for name, value in changes.items()}
    with pytest.raises(UserError, match=message):
        towers(manifest, **changes)


def test_random_trunks_are_left_alone(manifest: Manifest) -> None:
    one, two = towers(manifest), towers(manifest)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert dataclasses.asdict(one.config) == dataclasses.asdict(two.config)


def test_towers_keep_how_rasters_became_rgb(manifest: Manifest) -> None:
    known = RasterSettings((4, 3, 2), (310.0, 4120.0), "corpus")
    assert towers(replace(manifest, rasters=known)).config.rasters == known
    # A corpus of 8-bit images has no scale to teach.
    open_scale = RasterSettings((4, 3, 2), None, "corpus")
    assert towers(replace(manifest, rasters=open_scale)).config.rasters == RasterSettings((4, 3, 2), None, "chip")
