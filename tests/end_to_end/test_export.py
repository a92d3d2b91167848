"""Shard sets are exported as Parquet and as a folder with a table, and both are read again."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet
import pytest
from commands import python, run
from foreign_sets import samples_of
from PIL import Image
from shard_commands import ROOT, command, error_of, files_of, started_alone, wait_until

from shards.manifest import Manifest
from shards.streaming.reading import ShardSet

pytestmark = pytest.mark.slow


def shards_run(verb: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return run(python("shards/run.py", verb, *words), cwd=ROOT)


SPLITS = {"train": "train", "val": "validation", "test": "test"}


@pytest.fixture(scope="module")
def parquet(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "parquet"
    result = shards_run("export", small_shards, "--out", out)
    assert result.returncode == 0, result.stderr
    manifest = Manifest.load(small_shards)
    counts = ", ".join(f"{split} {count}" for split, count in manifest.splits.items())
    assert f"{sum(manifest.splits.values())} samples ({counts}) as parquet" in result.stdout
    return out


def test_parquet_holds_what_plain_webdataset_reads(small_shards: Path, parquet: Path) -> None:
    clips = {sample["__key__"]: sample["mp3"] for sample in samples_of(small_shards / "previews")}
    for split, name in SPLITS.items():
        files = sorted((parquet / "data").glob(f"{name}-*.parquet"))
        assert [file.name for file in files] == [
            f"{name}-{number:05d}-of-{len(files):05d}.parquet" for number in range(len(files))
        ]
        rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
        stored = list(samples_of(small_shards, split))
        assert len(rows) == len(stored) > 0
        for row, sample in zip(rows, stored, strict=True):
            assert row["key"] == sample["__key__"]
            assert row["image"] == {"bytes": sample["jpg"], "path": f"{row['key']}.jpg"}
            spectrogram = np.load(io.BytesIO(sample["spectrogram.npy"]))
            np.testing.assert_array_equal(np.array(row["spectrogram"], dtype=np.uint8).T, spectrogram)
            assert row["preview"]["bytes"] == clips[row["key"]]
            about = json.loads(sample["json"])
            assert {name: row[name] for name in about} == about


def test_the_card_and_the_schema_say_what_datasets_needs(small_shards: Path, parquet: Path) -> None:
    card = (parquet / "README.md").read_text()
    assert "  - split: validation\n    path: data/validation-*\n" in card
    [file] = sorted((parquet / "data").glob("train-00000-*"))
    schema = pyarrow.parquet.read_schema(file)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert (features["image"], features["preview"]) == ({"_type": "Image"}, {"_type": "Audio"})
    assert pyarrow.parquet.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    assert not (parquet / ".export").exists()
    record = json.loads((parquet / "export.json").read_text())
    assert record["samples"] == Manifest.load(small_shards).splits


def test_an_exported_set_is_read_again_as_a_corpus(small_shards: Path, parquet: Path, tmp_path: Path) -> None:
    result = shards_run(
        "build", "--source", "parquet", "--root", parquet, "--out", tmp_path / "again", "--workers", "1"
    )
    assert result.returncode == 0, result.stderr
    assert "sounds those of 'preview'" in result.stderr
    before, after = ({s["__key__"]: s for s in samples_of(shards)} for shards in (small_shards, tmp_path / "again"))
    assert before.keys() == after.keys()
    assert Manifest.load(tmp_path / "again").splits == Manifest.load(small_shards).splits
    for key, sample in before.items():
        first, second = json.loads(sample["json"]), json.loads(after[key]["json"])
        assert {name: second[name] for name in ("longitude", "latitude", "label")} == {
            name: first[name] for name in ("longitude", "latitude", "label")
        }
        # The clip is as long as these short recordings, up to a frame of MP3.
        assert second["seconds"] == pytest.approx(first["seconds"], abs=0.1)


def test_a_folder_with_a_table_is_read_by_pandas_and_as_recordings(small_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "folder"
    result = shards_run("export", small_shards, "--out", out, "--format", "folder")
    assert result.returncode == 0, result.stderr
    table = pandas.read_csv(out / "metadata.csv")
    shard_set = ShardSet.open(small_shards)
    samples = {sample.key: (split, sample) for split in SPLITS for sample in shard_set.samples(split)}
    assert set(table["key"].astype(str)) == samples.keys()
    for row in table.to_dict("records"):
        split, sample = samples[str(row["key"])]
        assert row["split"] == split
        assert (out / row["image"]).read_bytes() == sample.image_bytes()
        stored = np.load(out / row["spectrogram"])
        np.testing.assert_array_equal(stored, sample.frames(0, sample.num_frames))
        assert (out / row["mp3name"]).read_bytes() == sample.preview()
        assert (row["longitude"], row["latitude"]) == tuple(sample.metadata()[n] for n in ("longitude", "latitude"))
        Image.open(out / row["image"]).verify()
    words = ["--root", out, "--out", tmp_path / "again", "--workers", "1", "--split-file", out / "metadata.csv"]
    built = shards_run("build", "--source", "recordings", *words)
    assert built.returncode == 0, built.stderr
    assert Manifest.load(tmp_path / "again").splits == Manifest.load(small_shards).splits


@pytest.mark.parametrize("form", ["parquet", "folder"])
def test_a_killed_export_resumes_and_ends_in_the_same_bytes(form: str, small_shards: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert shards_run("export", small_shards, "--out", whole, "--format", form).returncode == 0
    out = tmp_path / "killed"
    pattern = "data/*.parquet" if form == "parquet" else ".export/*.done"
    words = command("export", small_shards, "--out", out, "--format", form)
    process = subprocess.Popen(words, cwd=ROOT, env=started_alone(), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    wait_until(lambda: len(list(out.glob(pattern))) >= 2 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob(pattern)}
    assert kept
    resumed = shards_run("export", small_shards, "--out", out, "--format", form)
    assert resumed.returncode == 0, resumed.stderr
    assert files_of(out) == files_of(whole)
    if form == "parquet":
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert "nothing to do" in shards_run("export", small_shards, "--out", out, "--format", form).stdout


def test_what_is_in_the_way_or_damaged_is_refused(small_shards: Path, parquet: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    assert "is not empty and is no export" in error_of(shards_run("export", small_shards, "--out", full))
    sentence = error_of(shards_run("export", small_shards, "--out", parquet, "--format", "folder"))
    assert "is an export of another set or with other options (format)" in sentence
    without = copied(small_shards, tmp_path / "a", without="val")
    missing = shards_run("export", without, "--out", tmp_path / "out", "--split", "val")
    assert "--split val: " in error_of(missing)
    damaged = copied(small_shards, tmp_path / "b")
    tar = damaged / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[5000] ^= 1
    tar.write_bytes(data)
    assert "train-000000.tar is not the file that manifest.json states" in error_of(
        shards_run("export", damaged, "--out", tmp_path / "out")
    )
    assert "unknown --format 'csv'" in error_of(
        shards_run("export", small_shards, "--out", tmp_path / "x", "--format", "csv")
    )


def copied(shards: Path, to: Path, without: str = "") -> Path:
    """A copy of a set, of whose manifest the shards of a split are left out."""
    shutil.copytree(shards, to)
    manifest = Manifest.load(to)
    kept = tuple(shard for shard in manifest.shards if shard.split != without)
    dataclasses.replace(manifest, shards=kept).save(to)
    return to
