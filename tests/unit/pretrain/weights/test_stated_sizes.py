"""A config that states other sizes than its weights is refused before anything of those sizes is built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from released_runs import small_towers
from transformers_folders import save_ast

from pretrain import model
from pretrain.model import TwoTower
from shards.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose sound encoder states its own sizes."""
    place = tmp_path_factory.mktemp("stated")
    save_ast(place / "ast", frames=128)
    sound = {"sound_encoder": f"transformers:{place / 'ast'}", "sound_pooling": 1}
    small_towers(**sound).save_pretrained(place / "model")
    return place / "model"


@pytest.mark.parametrize(
    ("changes", "of_sound", "sentence"),
    [
        ({"embedding_dim": 2**16, "head_hidden": 2**16}, {}, r"image_tower\.projection\..* in model\.safetensors, by"),
        ({"embedding_dim": 2**17}, {}, r"embedding_dim: input should be less than or equal to 65536, got 131072"),
        ({"image_std": [1, 0, 1]}, {}, r"image_std\.1: input should be greater than 0, got 0"),
        ({"norm": "none"}, {}, r"norm: input should be 'batch', 'sync' or 'group', got 'none'"),
        ({}, {"num_hidden_layers": 10**9}, r"config\.json states 1000000000 layers, but model\.safetensors holds \d+"),
        (
            {},
            {"intermediate_size": 2**30},
            r"sound_tower\.trunk.* has the shape .*, by config\.json it has the",
        ),
    ],
)
def test_other_sizes_are_named(
    folder: Path,
    changes: dict[str, Any],
    of_sound: dict[str, Any],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "model"))
    record = json.loads((copied / "config.json").read_text())
    record = {**record, **changes, "sound_encoder_config": {**record["sound_encoder_config"], **of_sound}}
    (copied / "config.json").write_text(json.dumps(record))
    monkeypatch.setattr(model, "load_file", lambda _: pytest.fail("the weights were read"))
    with pytest.raises(UserError, match=sentence) as refusal:
        TwoTower.from_pretrained(copied)
    assert len(str(refusal.value)) < 400 + len(str(copied))


def test_entries_that_say_nothing_about_the_network_have_no_effect(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "model"))
    record = json.loads((copied / "config.json").read_text())
    record["sound_encoder_config"]["num_labels"] = 10**12  # for which the library would make as many names
    (copied / "config.json").write_text(json.dumps(record))
    assert TwoTower.from_pretrained(copied).config.embedding_dim == 128
