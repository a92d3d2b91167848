"""The manifest comes back as it was saved, and anything else under its name is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, wrong_totals
from shards.raster_settings import RasterSettings
from shards.schema import Rejection, SpectrogramScale, SpectrogramSettings

MANIFEST = Manifest(
    source="recordings",
    build={"split_by": "key", "limit": None},
    spectrogram=SpectrogramSettings(hop_samples=None, scale=SpectrogramScale("exp-log-mel/10", 0.25, 1.5)),
    statistics={"spectrogram_mean": 99.5, "spectrogram_std": 30.25, "seconds_of_sound": 9.5},
    shards=(
        ShardEntry("train-000000.tar", "train", 5, 10240, "ab" * 32),
        ShardEntry("train-000001.tar", "train", 2, 10240, "cd" * 32),
        ShardEntry("test-000000.tar", "test", 1, 10240, "ef" * 32),
    ),
    rejected=(Rejection("ü", "missing image", "no images/ü"),),
)


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    MANIFEST.save(tmp_path)
    assert Manifest.load(tmp_path) == MANIFEST
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


def test_it_counts_by_split() -> None:
    assert MANIFEST.splits == {"train": 7, "test": 1}
    assert MANIFEST.num_samples("val") == 0
    assert [entry.name for entry in MANIFEST.of_split("train")] == ["train-000000.tar", "train-000001.tar"]


def test_a_reader_without_earshot_finds_the_counts(tmp_path: Path) -> None:
    MANIFEST.save(tmp_path)
    record = json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))
    assert record["format_version"] == 2
    assert record["splits"] == {"train": {"num_samples": 7}, "test": {"num_samples": 1}}
    assert record["num_rejected"] == 1
    assert record["rejected"] == [{"key": "ü", "reason": "missing image", "detail": "no images/ü"}]


@pytest.mark.parametrize(
    ("name", "stated", "sentence"),
    [
        ("num_rejected", 3, "num_rejected is 3, but the entries add up to 1"),
        (
            "splits",
            {"train": {"num_samples": 7}},
            'splits is {"train": {"num_samples": 7}}, but the entries add up to {"train"',
        ),
        ("splits", None, "splits is null, but the entries add up to"),
    ],
)
def test_totals_that_the_entries_contradict_are_told(tmp_path: Path, name: str, stated: object, sentence: str) -> None:
    MANIFEST.save(tmp_path)
    assert wrong_totals(tmp_path) == []
    record = json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({**record, name: stated}))
    (found,) = wrong_totals(tmp_path)
    assert found.startswith(sentence)


def test_it_is_on_the_disk_before_it_stands_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), rename(old, new)))
    MANIFEST.save(tmp_path)
    assert calls == ["fsync", "replace"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Manifest.load(tmp_path / "none")


def test_a_folder_without_manifest_is_no_shard_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a shard set"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", r"input should be a valid dictionary, got \[\]; copy the shard set again"),
        ("{}", "format_version is None"),
        ('{"format_version": 3}', "format_version is 3, this Earshot reads 1 and 2"),
        ('{"format_version": 1, "source": "demo"}', "build: field required"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(UserError, match=message):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["../train-000000.tar", "/etc/passwd", "train-000000.tar\n", "-000000.tar", "train-٠٠٠٠٠٠.tar"]
)
def test_names_that_are_no_shards_are_refused(tmp_path: Path, name: str) -> None:
    dataclasses.replace(MANIFEST, shards=(ShardEntry(name, "train", 1, 1, "ab" * 32),)).save(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.json: shards\.0\.name: string should match pattern"):
        Manifest.load(tmp_path)


def test_how_rasters_became_rgb_is_recorded(tmp_path: Path) -> None:
    rasters = RasterSettings((4, 3, 2), (310.5, 4120.0), "corpus")
    manifest = dataclasses.replace(MANIFEST, rasters=rasters)
    manifest.save(tmp_path)
    record = json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))
    assert record["rasters"] == {
        "bands": [4, 3, 2],
        "scale_range": [310.5, 4120.0],
        "scale_by": "corpus",
        "max_whole_side": 512,
        "rotated_resampling": "bilinear",
    }
    assert Manifest.load(tmp_path).rasters == rasters


def test_an_older_manifest_knows_the_bands_and_scaled_each_image_by_itself(tmp_path: Path) -> None:
    dataclasses.replace(MANIFEST, build={**MANIFEST.build, "bands": [4, 3, 2]}).save(tmp_path)
    path = tmp_path / MANIFEST_NAME
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["rasters"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert Manifest.load(tmp_path).rasters == RasterSettings((4, 3, 2), None, "chip")
    record["rasters"] = {"bands": [0, 1, 2]}
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"rasters: value error, bands must be three numbers counted from 1, got \(0, 1, 2\)"
    ):
        Manifest.load(tmp_path)
