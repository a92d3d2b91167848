"""The explorer's atlas: what it holds, that nothing is embedded twice, and that a killed build resumes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import PATIENCE_SECONDS, environment, python_with_small_files
from listening_shards import write_listening_shards, write_tiny_towers

from pretrain.model import TwoTower
from pretrain.training.embedding import embed_split, spread_crops
from retrieval.explore.atlas import MODALITIES, Atlas, folder_beside, open_atlas
from retrieval.explore.atlas_building import MOST_LABELS, Findings
from shards.errors import UserError
from shards.locks import lock_folder
from shards.records import json_as
from shards.streaming.reading import ShardSet

COUNTS = {"train": 40, "val": 9, "test": 23}
NAMES = ("image_embeddings", "sound_embeddings", "places", "labels")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_listening_shards(tmp_path_factory.mktemp("listening") / "shards", COUNTS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_towers(tmp_path_factory.mktemp("towers") / "model")


def opened(weights: Path, shards: Path, folder: Path, **options: Any) -> Atlas:
    """The atlas of all splits in batches of 8, two crops per sound by default."""
    choices = {"splits": ("train", "val", "test"), "crops": 2, "batch_size": 8, **options}
    return open_atlas(TwoTower.from_pretrained(weights), weights, ShardSet.open(shards), folder=folder, **choices)


@pytest.fixture(scope="module")
def atlas(weights: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return opened(weights, shards, tmp_path_factory.mktemp("atlases"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refuse_to_embed(*arguments: object) -> None:
    raise AssertionError("pairs were embedded again")


def test_it_holds_what_the_towers_say(atlas: Atlas, weights: Path, shards: Path) -> None:
    model, shard_set = TwoTower.from_pretrained(weights), ShardSet.open(shards)
    parts = [
        embed_split(model, shard_set, split, crop_starts=spread_crops(128, 2), batch_size=8)
        for split in ("train", "val", "test")
    ]
    assert len(atlas) == sum(COUNTS.values())
    assert np.allclose(atlas.image_embeddings, np.concatenate([part.image for part in parts]), atol=1e-5)
    assert np.allclose(atlas.sound_embeddings, np.concatenate([part.sound for part in parts]), atol=1e-5)
    assert [atlas.sample(number).key for number in range(len(atlas))] == [key for part in parts for key in part.keys]
    for name in NAMES:
        assert isinstance(getattr(atlas, name), np.memmap)
        assert not getattr(atlas, name).flags.writeable


def test_it_holds_places_and_labels(atlas: Atlas) -> None:
    for number in range(len(atlas)):
        metadata = atlas.sample(number).metadata()
        assert atlas.places[number].tolist() == pytest.approx([metadata["longitude"], metadata["latitude"]], rel=1e-6)
        assert atlas.label_names[atlas.labels[number]] == metadata["label"]
    assert atlas.label_names == ["meadow", "harbour", "town", "forest"]
    assert set(atlas.counts.values()) == {0}


def test_numbers_run_through_the_splits_in_order(weights: Path, shards: Path, atlas: Atlas, tmp_path: Path) -> None:
    assert [atlas.numbers.within_split(number) for number in (0, 39, 40, 48, 49, 71)] == [
        *(("train", 0), ("train", 39), ("val", 0), ("val", 8), ("test", 0), ("test", 22))
    ]
    for number in (-1, 72):
        with pytest.raises(IndexError):
            atlas.sample(number)
    two = opened(weights, shards, tmp_path, splits=("test", "val"))
    assert (len(two), two.provenance["splits"]) == (32, ["val", "test"])
    assert two.sample(9).key == atlas.sample(49).key


def test_nearest_are_those_of_sorting_everything(atlas: Atlas) -> None:
    for modality in MODALITIES:
        query = atlas.sound_embeddings[5]
        far = np.linalg.norm(atlas.embeddings(modality).astype(np.float64) - query, axis=1)
        numbers, distances = atlas.nearest(modality, query, 7)
        assert numbers.tolist() == np.argsort(far, kind="stable")[:7].tolist()
        assert distances.tolist() == pytest.approx(np.sort(far)[:7].tolist())
        assert np.allclose(atlas.distances(modality, query), far, rtol=1e-5, atol=1e-6)
        assert atlas.indexes[modality].description == "exact"
    assert atlas.nearest("sound", atlas.sound_embeddings[5], 1)[0].tolist() == [5]


def test_it_says_what_it_was_made_from(atlas: Atlas, weights: Path, shards: Path) -> None:
    import hashlib

    def sha256(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert atlas.provenance == {
        "weights": str(weights),
        "weights_sha256": sha256(weights / "model.safetensors"),
        "config_sha256": sha256(weights / "config.json"),
        "shards": str(shards),
        "manifest_sha256": sha256(shards / "manifest.json"),
        "splits": ["train", "val", "test"],
        "crops": 2,
    }
    assert json.loads((atlas.folder / "atlas.json").read_text())["provenance"] == atlas.provenance


def test_it_is_reopened_without_embedding_anything(
    atlas: Atlas, weights: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.explore.atlas_building.embed_pairs_of", refuse_to_embed)
    before = contents(atlas.folder)
    # A batch is how the work is done, not what comes out; so may a reader be where another holds the folder.
    with lock_folder(atlas.folder, "a test holds it"):
        again = opened(weights, shards, atlas.folder.parent, batch_size=5)
    assert again.folder == atlas.folder
    assert contents(atlas.folder) == before
    assert np.array_equal(again.image_embeddings, atlas.image_embeddings)
    assert (again.label_names, again.counts) == (atlas.label_names, atlas.counts)


def test_other_weights_shards_splits_or_crops_have_another_folder(
    atlas: Atlas, weights: Path, shards: Path, tmp_path: Path
) -> None:
    folder = atlas.folder.parent
    other_weights = write_tiny_towers(tmp_path / "model", seed=1)
    other_shards = write_listening_shards(tmp_path / "shards", COUNTS, seed=1)
    moved = shutil.copytree(weights, tmp_path / "moved")
    others = [
        opened(other_weights, shards, folder),
        opened(weights, other_shards, folder),
        opened(weights, shards, folder, splits=("train", "val")),
        opened(weights, shards, folder, crops=1),
    ]
    assert len({atlas.folder, *(other.folder for other in others)}) == 5
    assert not np.allclose(others[0].image_embeddings, atlas.image_embeddings, atol=1e-3)
    assert opened(moved, shards, folder).folder == atlas.folder


BUILD = """
import signal, sys
from pathlib import Path
from pretrain.model import TwoTower
from retrieval.explore import atlas_building
from retrieval.explore.atlas import open_atlas
from shards.streaming.reading import ShardSet

embed, batches = atlas_building.embed_pairs_of, []
def embed_or_wait(*arguments):
    batches.append(arguments)
    if str(len(batches)) == sys.argv[4]:
        signal.pause()  # in the middle of the second block of 16, until it is killed
    return embed(*arguments)
atlas_building.embed_pairs_of = embed_or_wait
atlas_building.BLOCK_PAIRS = 16
weights, shards, folder = map(Path, sys.argv[1:4])
open_atlas(TwoTower.from_pretrained(weights), weights, ShardSet.open(shards), splits=("train", "val", "test"), crops=2,
    folder=folder, batch_size=8)
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_to_the_same_bytes(weights: Path, shards: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", BUILD, str(weights), str(shards)]
    subprocess.run([*words, str(tmp_path / "whole"), "0"], env=environment(), check=True, capture_output=True)
    (whole,) = (tmp_path / "whole").iterdir()

    folder = tmp_path / "killed"
    process = subprocess.Popen([*words, str(folder), "4"], env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (progress := list(folder.glob("*/progress.json"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = json.loads(progress[0].read_text())["done"]
    assert done == 16 < sum(COUNTS.values())
    assert not (progress[0].parent / "atlas.json").exists()

    ended = subprocess.run([*words, str(folder), "0"], env=environment(), check=True, capture_output=True, text=True)
    assert f"embedding pairs: {sum(COUNTS.values())}/{sum(COUNTS.values())}" in ended.stderr
    assert contents(progress[0].parent) == contents(whole)


def test_only_what_is_left_is_embedded(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.explore import atlas_building

    embed, embedded = atlas_building.embed_pairs_of, []

    def fail_at_30(model: TwoTower, samples: list[Any], crop_starts: Any) -> Any:
        if len(embedded) >= 30:
            raise KeyboardInterrupt
        embedded.extend(sample.key for sample in samples)
        return embed(model, samples, crop_starts)

    def count(model: TwoTower, samples: list[Any], crop_starts: Any) -> Any:
        embedded.extend(sample.key for sample in samples)
        return embed(model, samples, crop_starts)

    monkeypatch.setattr(atlas_building, "BLOCK_PAIRS", 16)
    monkeypatch.setattr(atlas_building, "embed_pairs_of", fail_at_30)
    with pytest.raises(KeyboardInterrupt):
        opened(weights, shards, tmp_path)
    assert len(embedded) == 32
    embedded.clear()
    monkeypatch.setattr(atlas_building, "embed_pairs_of", count)
    atlas = opened(weights, shards, tmp_path)
    assert embedded == [atlas.sample(number).key for number in range(32, 72)]
    assert sum(atlas.counts.values()) == 0


@pytest.mark.parametrize("damage", ["truncated", "missing", "record", "other shape"])
def test_a_damaged_atlas_is_made_again(damage: str, atlas: Atlas, weights: Path, shards: Path, tmp_path: Path) -> None:
    place = shutil.copytree(atlas.folder, tmp_path / atlas.folder.name)
    path = place / "sound_embeddings.npy"
    if damage == "truncated":
        os.truncate(path, 1000)
    elif damage == "missing":
        path.unlink()
    elif damage == "record":
        (place / "atlas.json").write_text("{")
    else:
        np.save(path, np.zeros((72, 15), np.float32))
    assert opened(weights, shards, tmp_path).folder == place
    assert contents(place) == contents(atlas.folder)


def test_a_large_atlas_is_searched_by_lists_and_a_damaged_index_is_made_again(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = opened(weights, shards, tmp_path, exact_up_to=50)
    assert atlas.indexes["image"].description.startswith("IVF with 8 lists")
    record = atlas.indexes["sound"].record
    assert record is not None
    assert record.num_queries == 72
    before = contents(atlas.folder)
    monkeypatch.setattr("retrieval.explore.atlas_building.embed_pairs_of", refuse_to_embed)
    (atlas.folder / "sound.faiss").write_bytes(b"")
    assert opened(weights, shards, tmp_path, exact_up_to=50).indexes["sound"].record == record
    assert contents(atlas.folder) == before


def test_one_command_at_a_time_makes_an_atlas(atlas: Atlas, weights: Path, shards: Path, tmp_path: Path) -> None:
    place = tmp_path / atlas.folder.name
    with lock_folder(place, "…"), pytest.raises(UserError, match="is in use: another command is embedding these pairs"):
        opened(weights, shards, tmp_path)


class Stranger:
    """A sample of whose metadata anything can be expected."""

    def __init__(self, metadata: Any) -> None:
        self._metadata = metadata

    def metadata(self) -> Any:
        text = self._metadata if isinstance(self._metadata, str) else json.dumps(self._metadata)
        return json_as(dict[str, Any], text, "the JSON of a sample")


def read(findings: Findings, metadata: Any) -> tuple[list[float] | None, int]:
    place, label = findings.read(Stranger(metadata))  # type: ignore[arg-type]
    return None if np.isnan(place).all() else list(place), label


@pytest.mark.parametrize(
    "place",
    [
        *({"longitude": "8", "latitude": 50}, {"longitude": 181, "latitude": 50}, {"longitude": 8, "latitude": -90.1}),
        *({"longitude": 8}, {"longitude": True, "latitude": 1}, {"longitude": float("nan"), "latitude": 1}),
        *(
            {"longitude": [8], "latitude": {}},
            {"longitude": 10**400, "latitude": 1},
            '{"longitude": 1e999}',
            *("{", "[" * 9**6, "[]", "7", "null"),
        ),
    ],
)
def test_places_that_are_none_are_counted(place: Any) -> None:
    findings = Findings()
    assert read(findings, place)[0] is None
    assert (findings.counts["with_unusable_place"], findings.counts["without_place"]) == (1, 0)


@pytest.mark.parametrize("label", [7, True, 0, ["town"], {"a": 1}, "x" * 201, "bell\a", "\ud800", float("nan")])
def test_labels_that_are_none_are_counted(label: Any) -> None:
    findings = Findings()
    assert read(findings, {"label": label})[1] == -1
    assert (findings.counts["with_unusable_label"], findings.counts["without_label"]) == (1, 0)
    assert findings.label_names == []


@pytest.mark.parametrize("metadata", [{}, {"label": None, "longitude": None}, {"label": " \n"}])
def test_pairs_without_a_place_and_a_label_are_counted(metadata: Any) -> None:
    findings = Findings()
    assert read(findings, metadata) == (None, -1)
    assert findings.counts == {
        **dict.fromkeys(("without_place", "without_label"), 1),
        **dict.fromkeys(("with_unusable_place", "with_unusable_label"), 0),
    }


def test_places_and_labels_that_are_some() -> None:
    findings = Findings()
    assert read(findings, {"longitude": -180, "latitude": 90.0, "label": "old  town"}) == ([-180, 90], 0)
    assert read(findings, {"longitude": 0, "latitude": 0, "label": "Straße"}) == ([0, 0], 1)
    assert read(findings, {"label": " old town\n"})[1] == 0
    assert findings.label_names == ["old town", "Straße"]
    for number in range(MOST_LABELS):
        read(findings, {"label": f"kind {number}"})
    assert (len(findings.label_names), findings.counts["with_unusable_label"]) == (MOST_LABELS, 2)


def test_mistakes_are_named(weights: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'tset'; choose from: train, val, test"):
        opened(weights, shards, tmp_path, splits=("tset",))
    with pytest.raises(UserError, match=r"splits none of .* contain no pairs; it has train 40, val 9, test 23"):
        opened(weights, shards, tmp_path, splits=())
    with pytest.raises(UserError, match="must be >= 1, got 0 and 8"):
        opened(weights, shards, tmp_path, crops=0)
    broken = shutil.copytree(shards, tmp_path / "shards")
    os.truncate(broken / "val-000001.tar", 1024)
    with pytest.raises(UserError, match=r"val-000001.tar has 1024 bytes"):
        opened(weights, broken, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_weights_that_diverged_get_a_sentence(weights: Path, shards: Path, tmp_path: Path) -> None:
    model = TwoTower.from_pretrained(weights)
    model.sound_tower.projection.bias.data[3] = float("nan")
    options: dict[str, Any] = {"splits": ("val",), "crops": 1, "folder": tmp_path}
    with pytest.raises(UserError, match=r"\d+ of \d+ embeddings are not finite"):
        open_atlas(model, weights, ShardSet.open(shards), **options)


FULL_DISK = """
import sys
from pathlib import Path
from pretrain.model import TwoTower
from retrieval.explore.atlas import open_atlas
from shards.records import json_as
from shards.errors import UserError
from shards.streaming.reading import ShardSet
weights, shards, folder = map(Path, sys.argv[1:4])
try:
    open_atlas(TwoTower.from_pretrained(weights), weights, ShardSet.open(shards), splits=("train",), crops=1,
        folder=folder)
except UserError as error:
    print(error)
"""


def test_room_on_the_disk_is_taken_before_anything_is_embedded(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a disk that fills up meanwhile would end the process with a bus error where it writes to a mapped file.
    monkeypatch.setattr("retrieval.explore.atlas_building.embed_pairs_of", refuse_to_embed)
    wide = TwoTower(dataclasses.replace(TwoTower.from_pretrained(weights).config, embedding_dim=256))
    with pytest.raises(AssertionError, match="embedded again"):
        open_atlas(wide, weights, ShardSet.open(shards), splits=("train",), crops=1, folder=tmp_path)
    sizes = [path.stat() for path in tmp_path.glob("*/*_embeddings.npy")]
    assert len(sizes) == 2
    assert all(size.st_blocks * 512 >= size.st_size == 128 + 40 * 256 * 4 for size in sizes)


def test_a_full_disk_gets_a_sentence(weights: Path, shards: Path, tmp_path: Path) -> None:
    assert "can't be written: File too large" in python_with_small_files(
        FULL_DISK, weights, shards, tmp_path / "atlases", most_bytes=1500
    )
    (place,) = (tmp_path / "atlases").iterdir()
    assert not any(place.iterdir())


def test_atlases_of_weights_by_name_are_kept_where_fetched_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARSHOT_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    assert folder_beside(Path("owner/name")) == tmp_path / "models" / "owner--name" / "explore"
    assert folder_beside(Path("demo")) == tmp_path / "models" / "demo" / "explore"
    (tmp_path / "run").mkdir()
    assert folder_beside(tmp_path / "run") == tmp_path / "run" / "explore"
