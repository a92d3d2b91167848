"""Sets of format version 1, whose indexes are JSON, are read as those of today; their indexes are believed no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from index_files import entry_of, to_version_1
from tiny_shards import write_tiny_shards

from shards.building.verifying import verify_shards
from shards.errors import UserError
from shards.manifest import Manifest
from shards.streaming.index import index_name, load_index
from shards.streaming.reading import ShardSet

NAME = "train-000000.tar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of format version 1."""
    folder = write_tiny_shards(tmp_path / "set", {"train": 7, "test": 3}, image_side=32, samples_per_shard=7)
    shutil.copytree(folder, tmp_path / "new")
    to_version_1(folder)
    return folder


def test_it_is_read_as_a_set_of_today(folder: Path) -> None:
    assert not list(folder.glob("*.npy"))
    old, new = ShardSet.open(folder), ShardSet.open(folder.parent / "new")
    for split in ("train", "test"):
        old.check_files(split)
        for ours, theirs in zip(old.samples(split), new.samples(split), strict=True):
            assert ours.entry == theirs.entry
            assert ours.image_bytes() == theirs.image_bytes()
    assert verify_shards(folder, show_progress=False).faults == ()


def change(folder: Path, field: str, value: object) -> None:
    """Gives a field of the second sample another value."""
    path = folder / index_name(entry_of(folder, NAME))
    record = json.loads(path.read_text())
    record["samples"][1][field] = value
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 1}', '{"format_version": 2, "samples": []}', "\0"])
def test_an_index_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "train-000000.index.json").write_text(text)
    with pytest.raises(UserError, match=r"train-000000\.index\.json.*; copy the shard set again"):
        load_index(folder, entry_of(folder, NAME))


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", 2**40), ("bytes", 2**40), ("members", {"jpg": [512, 2**40]}), ("members", {"jpg": [0, 2**40]})],
)
def test_an_index_that_points_beyond_the_tar_is_refused(folder: Path, field: str, value: object) -> None:
    change(folder, field, value)
    with pytest.raises(UserError, match=r"sample .* is not within the [0-9,]+ bytes of the tar; copy"):
        load_index(folder, entry_of(folder, NAME))


@pytest.mark.parametrize(("field", "value"), [("offset", -1), ("bytes", 1e400), ("num_frames", "x"), ("key", "a/b")])
def test_an_index_with_a_wrong_value_names_it(folder: Path, field: str, value: object) -> None:
    change(folder, field, value)
    with pytest.raises(UserError, match=rf"samples\.1\.{field}: "):
        load_index(folder, entry_of(folder, NAME))


def test_an_index_of_another_tar_is_refused(folder: Path) -> None:
    (folder / "train-000000.index.json").write_bytes((folder / "test-000000.index.json").read_bytes())
    with pytest.raises(UserError, match=r"is the index of 'test-000000\.tar', not of train-000000\.tar; copy"):
        load_index(folder, entry_of(folder, NAME))


def test_a_missing_index_is_named(folder: Path) -> None:
    (folder / "train-000000.index.json").unlink()
    with pytest.raises(UserError, match=r"has no index: train-000000\.index\.json is missing"):
        ShardSet.open(folder).check_files("train")
    assert Manifest.load(folder).shards[0].index is None
