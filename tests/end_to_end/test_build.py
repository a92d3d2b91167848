"""`python shards/run.py build`: every row used once or rejected, in the same bytes with any number of workers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import webdataset
from shard_commands import build_arguments, files_of, run

from shards.building.build import build
from shards.building.planning import BuildOptions
from shards.manifest import Manifest
from shards.streaming.index import entries_in_tar


def test_every_row_is_used_once_or_rejected_with_its_reason(small_shards: Path) -> None:
    manifest = Manifest.load(small_shards)
    assert {rejection.key: rejection.reason for rejection in manifest.rejected} == {
        "140": "missing image",
        "141": "undecodable sound",
        "142": "truncated image",
        "143": "coordinates out of range",
    }
    splits: dict[str, str] = {}
    for entry in manifest.shards:
        samples = list(webdataset.WebDataset(str(small_shards / entry.name), shardshuffle=False))
        assert len(samples) == entry.num_samples
        for sample in samples:
            assert sample["__key__"] not in splits
            splits[sample["__key__"]] = entry.split
            assert json.loads(sample["json"])["label"] == "town"
    assert splits == {str(key): {7: "val", 2: "test", 5: "test"}.get(key % 10, "train") for key in range(100, 140)}
    # Neighbours in the table are not neighbours in the shards.
    assert [entry.key for entry in entries_in_tar(small_shards / "train-000000.tar")] != sorted(splits)[:5]


def test_statistics_are_those_of_the_stored_bytes(small_shards: Path) -> None:
    manifest = Manifest.load(small_shards)
    stored = []
    for entry in manifest.of_split("train"):
        for sample in webdataset.WebDataset(str(small_shards / entry.name), shardshuffle=False).decode():
            stored.append(sample["spectrogram.npy"].ravel())
    values = np.concatenate(stored).astype(np.float64)
    assert manifest.statistics["spectrogram_mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert manifest.statistics["spectrogram_std"] == pytest.approx(values.std(), rel=1e-9)
    assert manifest.statistics["seconds_of_sound"] == pytest.approx(160, abs=0.01)


def test_two_workers_build_the_same_bytes(small_corpus: Path, small_shards: Path, tmp_path: Path) -> None:
    result = run("build", *build_arguments(small_corpus, tmp_path / "set", "--workers", "2"))
    assert result.returncode == 0, result.stderr
    assert files_of(tmp_path / "set") == files_of(small_shards)


def test_splits_by_column_and_cell_keep_groups_together(small_corpus: Path, tmp_path: Path) -> None:
    for name, more, group in (
        ("column", ["--column", "recording"], "recording"),
        ("cell", ["--cell-km", "500"], "longitude"),
    ):
        out = tmp_path / name
        result = run("build", *build_arguments(small_corpus, out, "--split-by", name, *more, "--no-previews"))
        assert result.returncode == 0, result.stderr
        split_of_group: dict[str, set[str]] = {}
        for entry in Manifest.load(out).shards:
            for sample in webdataset.WebDataset(str(out / entry.name), shardshuffle=False):
                value = str(json.loads(sample["json"])[group])
                split_of_group.setdefault(value, set()).add(entry.split)
        assert all(len(splits) == 1 for splits in split_of_group.values())
        assert set().union(*split_of_group.values()) >= {"train", "test"}
        assert not (out / "previews").exists()


def test_a_subset_of_real_pairs(real_data: Path, tmp_path: Path) -> None:
    result = run(
        "build",
        "--source",
        "recordings",
        "--root",
        real_data / "soundscapes",
        "--limit",
        "30",
        "--out",
        tmp_path / "set",
    )
    assert result.returncode == 0, result.stderr
    assert sum(Manifest.load(tmp_path / "set").splits.values()) == 30
    assert run("verify", tmp_path / "set").returncode == 0


def test_the_demo_is_generated_and_built(tmp_path: Path) -> None:
    arguments = ["--source", "demo", "--root", tmp_path / "world", "--places", "12", "--out", tmp_path / "set"]
    result = run("build", *arguments)
    assert result.returncode == 0, result.stderr
    assert sum(Manifest.load(tmp_path / "set").splits.values()) == 12
    again = build(BuildOptions("demo", tmp_path / "set", tmp_path / "world", places=12))
    assert again == Manifest.load(tmp_path / "set")
