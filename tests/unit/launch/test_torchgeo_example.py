"""The example for TorchGeo without TorchGeo: how it prepares images, and what it says of group norm."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch
from commands import REPOSITORY
from released_runs import small_towers

EXAMPLE = REPOSITORY / "launch" / "examples" / "torchgeo_classification.py"
LIBRARIES = ("lightning", "lightning.pytorch", "torchgeo", "torchgeo.trainers", "torchgeo.trainers.utils")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, with libraries that do nothing."""
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    spec = importlib.util.spec_from_file_location("torchgeo_classification", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_images_are_cropped_resized_and_normalised_as_the_config_says(example: ModuleType, tmp_path: Path) -> None:
    small_towers().save_pretrained(tmp_path)
    image = json.loads((tmp_path / "config.json").read_text())["preprocessing"]["image"]
    (tmp_path / "scenes" / "field").mkdir(parents=True)
    # A frame in one colour around the central 3/4 (of 128 × 160: 96 × 96) in another.
    pixels = np.full((128, 160, 3), 200, np.uint8)
    pixels[16:112, 32:128] = (10, 20, 30)
    cv2.imwrite(str(tmp_path / "scenes" / "field" / "a.png"), pixels[..., ::-1])
    scenes = example.Scenes(tmp_path / "scenes", image)
    expected = (torch.tensor([10, 20, 30]) / 255 - torch.tensor(image["mean"])) / torch.tensor(image["std"])
    torch.testing.assert_close(scenes[0]["image"], expected.view(3, 1, 1).expand(3, 32, 32), rtol=1e-4, atol=1e-4)


def test_group_norm_gets_a_sentence(example: ModuleType, tmp_path: Path) -> None:
    small_towers(norm="group").save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match="has group norm, but TorchGeo's trainer builds batch norm"):
        example.main(tmp_path / "image_trunk.safetensors", tmp_path)
