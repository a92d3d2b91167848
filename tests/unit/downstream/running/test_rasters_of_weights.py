"""Every kind of benchmark with images reads rasters in the bands and scale that its weights learned from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pair_folders import write_advance
from raster_files import write_raster

from downstream.audiovisual import running as audiovisual_running
from downstream.audiovisual.advance import ADVANCE
from downstream.audiovisual.kind import AudiovisualSettings
from downstream.audiovisual.pair_views import CentralView, WholeView
from downstream.landcover import running as landcover_running
from downstream.landcover.deepglobe import DEEPGLOBE
from downstream.landcover.kind import LandCoverSettings
from downstream.running.images import WholeImage, read_batch
from downstream.running.items import SceneItem
from downstream.scenes import job as scenes_job
from downstream.scenes.folder import FOLDER
from downstream.scenes.kind import SceneSettings
from downstream.transfer import job as transfer_job
from downstream.transfer.benchmark import ADVANCE_TRANSFER
from downstream.transfer.kind import TransferRunSettings
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.preemption import PreemptionWatch
from shards.raster_settings import RasterSettings
from shards.schema import SpectrogramSettings

RASTERS = RasterSettings((4, 3, 2), (0.0, 2550.0), "corpus")


class Seen(Exception):
    """Raised in place of the work that follows, with the items that were about to be read."""


def show(items: Any, *_: Any, **__: Any) -> None:
    raise Seen(items)


def show_pairs(_: Any, pairs: Any, *__: Any, **___: Any) -> None:
    raise Seen(pairs)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights") / "model"
    TwoTower(TwoTowerConfig(image_size=32, sound_pooling=4, rasters=RASTERS)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blue, green, red and infrared as bands 1 to 4."""
    levels = np.array([2500, 300, 600, 1800], np.uint16)
    path = tmp_path_factory.mktemp("raster") / "a.tif"
    return write_raster(path, levels[:, None, None] + np.zeros((4, 40, 40), np.uint16))


def test_a_labelled_image_is_read_so(raster: Path) -> None:
    item = SceneItem("a", raster, 0, RASTERS)
    assert (item.load() == [180, 60, 30]).all()
    batch = read_batch([item], WholeImage(32))
    assert batch["image"][0].reshape(3, -1).unique(dim=1).tolist() == [[180], [60], [30]]
    three = write_raster(raster.with_name("three.tif"), np.zeros((3, 40, 40), np.uint16))
    assert "band 4 of 3" in read_batch([SceneItem("b", three, 0, RASTERS)], WholeImage(32))["error"]


def write_scenes(root: Path) -> Path:
    for name in ("forest", "sand"):
        (root / name).mkdir(parents=True)
        for number in range(3):
            write_raster(root / name / f"{number}.tif", np.zeros((4, 40, 40), np.uint16))
    return root


def test_scenes(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes_job, "check_images", show)
    settings = SceneSettings(benchmark="folder", root=write_scenes(tmp_path), weights=weights)
    with pytest.raises(Seen) as seen:
        scenes_job.open_job(FOLDER, settings, Accelerator(cpu=True), PreemptionWatch(), resume=False)
    assert [item.rasters for item in seen.value.args[0]] == [RASTERS] * 6
    settings = dataclasses.replace(settings, bands=(3, 2, 1))
    with pytest.raises(Seen) as seen:
        scenes_job.open_job(FOLDER, settings, Accelerator(cpu=True), PreemptionWatch(), resume=False)
    assert [item.rasters for item in seen.value.args[0]] == [RASTERS.with_bands((3, 2, 1))] * 6


def test_landcover(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        for name in (f"{number}_sat.jpg", f"{number}_mask.png"):
            (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(landcover_running, "survey_tiles", show)
    settings = LandCoverSettings(benchmark="deepglobe", root=tmp_path, weights=weights, allow_partial=True)
    with pytest.raises(Seen) as seen:
        landcover_running.run_landcover(DEEPGLOBE, settings, Accelerator(cpu=True), PreemptionWatch(), resume=False)
    assert {tile.rasters for tile in seen.value.args[0]} == {RASTERS}


def test_audiovisual(weights: str, raster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audiovisual_running, "embed_pairs", show_pairs)
    settings = AudiovisualSettings(
        benchmark="advance", root=write_advance(tmp_path / "data"), out=tmp_path, weights=weights, allow_partial=True
    )
    with pytest.raises(Seen) as seen:
        audiovisual_running.run_audiovisual(ADVANCE, settings, Accelerator(cpu=True), PreemptionWatch(), resume=False)
    pairs = seen.value.args[0]
    assert {pair.rasters for pair in pairs} == {RASTERS}
    for view in (CentralView(32, SpectrogramSettings(), 128), WholeView(32, SpectrogramSettings(), 128)):
        pixels = view.image(type(pairs[0])("a", raster, raster, 0, "place", RASTERS))
        assert np.unique(pixels.reshape(3, -1), axis=1).tolist() == [[180], [60], [30]]


def test_transfer(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_job, "check_images", show)
    settings = TransferRunSettings(
        benchmark="advance-transfer", root=write_advance(tmp_path), weights=weights, allow_partial=True
    )
    settings, data, known = transfer_job.check_transfer(ADVANCE_TRANSFER, settings)
    with pytest.raises(Seen) as seen:
        transfer_job.open_job(settings, Accelerator(cpu=True), PreemptionWatch(), data, known)
    assert {item.rasters for item in seen.value.args[0]} == {RASTERS}
