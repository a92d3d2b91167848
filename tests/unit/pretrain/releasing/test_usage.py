"""The Python of every card runs as it is written: files in, arrays out, then tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pair_folders import write_image, write_sound
from released_runs import WIDE, authors_checkpoint, small_towers, write_run

import earshot
from pretrain.methods.settings import AudiovisualConfig
from pretrain.model import TwoTower
from pretrain.model_files import CARD_NAME
from pretrain.releasing.model_card import model_card
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import Config
from pretrain.weights.authors_checkpoint import convert_authors_checkpoint
from pretrain.weights.model_folder import write_model_folder
from shards.streaming.reading import ShardSet

VIEWS = {"recall_at_1": 0.5, "recall_at_10": 1.0, "recall_at_100": None, "median_rank": 2.0}


def blocks_of(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)\n```", card, flags=re.DOTALL)


def run_blocks(card: str, repository: Path, where: Path, **given: Any) -> dict[str, Any]:
    """What the blocks on files, on tensors and of torch.hub define, in a folder with an image and a recording."""
    generator = np.random.default_rng(0)
    write_image(where / "tile.jpg", (90, 90, 200), generator)
    write_sound(where / "recording.wav", 440.0, generator)
    names: dict[str, Any] = {"REPOSITORY": str(repository), **given}
    for block in blocks_of(card):
        if any(word in block for word in ("earshot.load(", "TwoTower", "torch.hub")):
            exec(block, names)
    return names


def inputs_of(card: str) -> dict[str, torch.Tensor]:
    """Inputs of the shapes that the remarks of a card state."""
    shapes = re.findall(r"# \(n, (\d+), (\d+), (\d+)\) uint8", card)
    tensors = [torch.randint(0, 256, (2, *map(int, shape)), dtype=torch.uint8) for shape in shapes]
    return dict(zip(("pixels", "spectrograms"), tensors, strict=False))


def test_the_card_of_a_release_begins_with_files(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    release(ReleaseOptions(write_run(tmp_path / "run", tiny_shards), Path("out"), half=True))
    card = (tmp_path / "out" / CARD_NAME).read_text()
    assert re.search(r"## Usage\n\nWith Earshot installed, from files to arrays:\n\n```python\nimport earshot\n", card)
    given = inputs_of(card)
    found = run_blocks(card, repository, tmp_path, **given)
    model, towers = earshot.load("out"), TwoTower.from_pretrained("out")
    files = model.embed_images("tile.jpg"), model.embed_sounds("recording.wav")
    assert np.array_equal(found["similarity"], model.similarity(*files))
    assert found["model"].embed_images("tile.jpg").shape == (1, 128)
    assert "(n, 128) float32" in card
    with torch.inference_mode():
        assert torch.equal(found["images"], towers.encode_image(given["pixels"]))
        assert torch.equal(found["sounds"], towers.encode_sound(given["spectrograms"]))
        assert torch.equal(found["tower"](given["pixels"]), found["images"])


@pytest.mark.parametrize("method", ["audiovisual", "simclr"])
def test_the_card_of_a_run_folder_begins_with_files(
    method: str, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {"method": method, "data.image_size": 32, "model.sound_pooling": 4}
    config: Config = with_settings(AudiovisualConfig(shards=tiny_shards), changes)
    scores: dict[str, Any] = {"view_to_view": VIEWS, "chance": VIEWS, "gallery_size": 4}
    card = model_card(config, ShardSet.open(tiny_shards).manifest, scores, step=3, epoch=1)
    hears = method == "audiovisual"
    write_model_folder(tmp_path / "FOLDER", small_towers(sound_trained=hears), card)
    found = run_blocks(card, repository, tmp_path, **inputs_of(card))
    assert found["images"].shape == (2, 128)
    assert ("sounds" in found) == hears
    assert ("embed_sounds" in card) == hears
    assert blocks_of(card)[0].startswith("import earshot")


def test_a_converted_checkpoint_hears_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    convert_authors_checkpoint(authors_checkpoint(tmp_path, small_towers(**WIDE)), tmp_path / "FOLDER")
    card = (tmp_path / "FOLDER" / "model" / CARD_NAME).read_text()
    assert "Sound files can't be embedded" in card
    assert "embed_sounds" not in card
    found = run_blocks(card, repository, tmp_path, **inputs_of(card))
    assert found["similarity"].tolist() == [[0.0]]
    assert found["sounds"].shape == (2, 128)
