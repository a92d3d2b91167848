"""ONNX files: the opset that was written, missing packages, and a difference that is seen."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from released_runs import small_towers, write_run

from pretrain.releasing import onnx_files
from pretrain.releasing.onnx_files import INPUTS_NAME, ONNX_NAMES, check_onnx, opset_of, write_onnx
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.weights.same_embeddings import fixed_probe
from shards.errors import UserError

NARROW = {"image_encoder": "narrow-resnet10", "sound_encoder": "narrow-resnet10"}


def test_the_opset_is_that_of_onnx_itself(tmp_path: Path) -> None:
    opsets = [onnx.helper.make_opsetid("com.example", 40), onnx.helper.make_opsetid("", 17)]
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), tmp_path / "empty.onnx")
    assert opset_of(tmp_path / "empty.onnx") == 17


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_shards: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    finished = write_run(tmp_path / "run", tiny_shards)
    with pytest.raises(UserError, match=r"--onnx needs the package onnxscript; install with: pip install 'earshot\["):
        release(ReleaseOptions(finished, tmp_path / "out", onnx=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_another_opset_and_other_embeddings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towers: Any = small_towers(**NARROW)
    probe = fixed_probe(towers.config)
    # torch's exporter writes 18 when it is asked for 17.
    monkeypatch.setattr(onnx_files, "OPSET", 17)
    with pytest.raises(UserError, match=r"image_tower\.onnx was written with opset 18, not 17"):
        write_onnx(tmp_path, towers, probe)
    monkeypatch.setattr(onnx_files, "OPSET", 18)
    write_onnx(tmp_path, towers, probe)
    assert check_onnx(tmp_path, towers, [probe]).startswith("image_tower.onnx and sound_tower.onnx (opset 18)")
    assert {path.name for path in tmp_path.iterdir()} == {*ONNX_NAMES.values(), INPUTS_NAME}
    with torch.no_grad():
        towers.sound_tower.projection.bias.add_(0.01)
    with pytest.raises(UserError, match="sound embeddings of random inputs by onnxruntime differ"):
        check_onnx(tmp_path, towers, [probe])
