"""What downstream runs leave in `model/` serves as `--weights`, whatever the benchmark; other folders are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from downstream.audiovisual.kind import AudiovisualSettings
from downstream.audiovisual.towers import load_towers
from downstream.benchmarks import defaults_of
from downstream.landcover.deeplab import DeepLab
from downstream.landcover.kind import LandCoverSettings
from downstream.landcover.segmentation import LandCoverMapping
from downstream.running.classifier_files import write_network
from downstream.running.heads import SceneClassifier
from downstream.scenes.classification import write_classifier
from downstream.scenes.kind import SceneSettings
from downstream.tau.joint_network import JointNetwork
from downstream.tau.kind import TauRunSettings
from downstream.tau.network_files import write_joint_network
from downstream.tau.settings import TauSettings
from downstream.tau.visual_encoder import VisualEncoder, load_visual_encoder
from downstream.transfer.job import image_encoder
from downstream.transfer.kind import TransferRunSettings
from downstream.transfer.network import SeenAndHeard
from downstream.transfer.settings import TransferSettings
from downstream.transfer.task import TransferRecognition
from pretrain.training.task import Evaluation
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder, rasters_of_weights
from shards.errors import UserError
from shards.raster_settings import RasterSettings

NONE = Evaluation("test", {}, None, "")
OTHER = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "rasters": RasterSettings(bands=(4, 3, 2))}


def an_encoder(backbone: str = "resnet18") -> LoadedEncoder:
    return replace(load_encoder("random", backbone=backbone, seed=7), **OTHER)  # type: ignore[arg-type]


def scenes(folder: Path, encoder: LoadedEncoder) -> None:
    module = SceneClassifier(encoder, 5, on_embedding=False)
    write_classifier(folder, module, list("abcde"), SceneSettings(head_on="trunk"))


def landcover(folder: Path, encoder: LoadedEncoder) -> None:
    task = LandCoverMapping.__new__(LandCoverMapping)
    task.encoder, task.classes, task.settings = encoder, {"urban": (0, 255, 255)}, LandCoverSettings(image_size=64)
    task.write_model(folder, DeepLab(encoder, 6, 64), NONE, step=1, epoch=1)


def transfer(folder: Path, encoder: LoadedEncoder) -> None:
    task = TransferRecognition.__new__(TransferRecognition)
    task.settings, task.classes = TransferRunSettings(), ["beach"]
    task.transfer = TransferSettings(loss="none", sound_stride=2)
    statistics = torch.zeros(64), torch.ones(64)
    task.write_model(
        folder, SeenAndHeard(encoder, "resnet18", None, statistics, 1, task.transfer), NONE, step=1, epoch=1
    )


def tau(folder: Path, encoder: LoadedEncoder) -> None:
    write_joint_network(folder, JointNetwork(10, visual=VisualEncoder(encoder)), TauRunSettings())


@pytest.mark.parametrize("write", [scenes, landcover, transfer, tau])
@pytest.mark.parametrize("where", ["", "model", "model/model.safetensors"])
def test_the_encoder_of_every_kind_of_run_is_taken(write: Any, where: str, tmp_path: Path) -> None:
    encoder = an_encoder()
    write(tmp_path, encoder)
    weights = str(tmp_path / where)
    found = load_encoder(weights)
    assert (found.backbone, found.weights, found.projection) == ("resnet18", weights, None)
    assert found.mean == pytest.approx(OTHER["mean"])
    assert found.std == pytest.approx(OTHER["std"])
    assert found.rasters == rasters_of_weights(weights) == OTHER["rasters"]
    assert found.weights_sha256 is not None
    own = encoder.module.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in found.module.state_dict().items())


def test_an_encoder_of_timm_is_known_by_its_name(tmp_path: Path) -> None:
    scenes(tmp_path, an_encoder("timm:convnext_atto"))
    assert load_encoder(str(tmp_path)).backbone == "timm:convnext_atto"


def test_supervised_weights_begin_the_networks_that_the_papers_began_from_them(tmp_path: Path) -> None:
    """AID → ResNet-101 (Hu et al.) and Places365 → EfficientNetV2-S (Chen et al.), as `folder` or `aid` write them."""
    aid, places = an_encoder("resnet101"), an_encoder("efficientnet-v2-s")
    scenes(tmp_path / "aid", aid)
    scenes(tmp_path / "places", places)
    hu = image_encoder(TransferRunSettings(weights=str(tmp_path / "aid"), image_size=64))
    chosen = {"weights": str(tmp_path / "places"), "tau": TauSettings(visual="efficientnet-v2-s"), "image_size": 64}
    chen = load_visual_encoder(replace(defaults_of("tau-scenes", "paper"), **chosen))  # type: ignore[arg-type]
    for began, trained in ((hu, aid), (chen, places)):
        assert began.backbone == trained.backbone
        own = trained.module.state_dict()
        assert all(torch.equal(value, own[name]) for name, value in began.module.state_dict().items())


def test_a_benchmark_of_both_towers_refuses_one_network_in_a_sentence(tmp_path: Path) -> None:
    scenes(tmp_path, an_encoder())
    settings = AudiovisualSettings(benchmark="advance", weights=str(tmp_path))
    with pytest.raises(UserError, match=r"has no towers of Earshot: .*give the folder of a pre-training run"):
        load_towers(settings)


def test_runs_without_an_image_encoder_are_refused_in_a_sentence(tmp_path: Path) -> None:
    write_network(tmp_path, nn.Linear(3, 2).state_dict(), {"benchmark": "tau-scenes"})
    with pytest.raises(UserError, match=r"model\.safetensors does not match any registered encoder"):
        load_encoder(str(tmp_path))


def test_outside_code_that_a_run_names_is_refused(tmp_path: Path) -> None:
    scenes(tmp_path, an_encoder())
    path = tmp_path / "model/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_encoder": "os.path:join"}))
    with pytest.raises(UserError, match=r"os\.path:join, which is not part of Earshot"):
        load_encoder(str(tmp_path))
