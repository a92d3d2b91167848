"""Exports of sets that are unlike each other: metadata of mixed types, no clips, other bands, one split."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet
import pytest
from tiny_shards import write_shard_set

from shards.errors import UserError
from shards.exporting.export import run_export
from shards.exporting.options import ExportOptions
from shards.manifest import Manifest
from shards.schema import Sample

JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
MIXED: list[dict[str, Any]] = [
    {"longitude": 1.5, "latitude": 2, "title": "=1+1", "tags": ["a"], "year": 2019, "loud": True, "key": "mine"},
    {
        "longitude": -2,
        "latitude": 0.25,
        "title": 'two\nlines, "quoted" | ü',
        "tags": "b",
        "year": 2020,
        "creator": None,
    },
    {"longitude": 3.0, "latitude": 4.0, "year": 2**70, "image": "x"},
]


def write(folder: Path, *, with_previews: bool = False, bands: int = 128) -> Path:
    def pair(number: int) -> Sample:
        spectrogram = np.random.default_rng(number).integers(0, 256, (bands, 128 + 7 * number), dtype=np.uint8)
        clip = f"clip {number}".encode() if with_previews else None
        return Sample(f"k{number}", JPEG, np.asfortranarray(spectrogram), MIXED[number % 3], preview=clip)

    return write_shard_set(
        folder,
        {"train": 5, "test": 3},
        pair,
        samples_per_shard=2,
        split={},
        with_previews=with_previews,
        mel_bands=bands,
    )


def test_columns_have_the_type_that_all_their_values_have(tmp_path: Path) -> None:
    shards = write(tmp_path / "set")
    run_export(ExportOptions(shards, tmp_path / "out"))
    files = sorted((tmp_path / "out" / "data").glob("*.parquet"))
    assert [file.name for file in files] == [
        *(f"test-{number:05d}-of-00002.parquet" for number in range(2)),
        *(f"train-{number:05d}-of-00003.parquet" for number in range(3)),
    ]
    tables = [pyarrow.parquet.read_table(file) for file in files]
    assert len({str(table.schema) for table in tables}) == 1
    schema = tables[0].schema
    assert {name: str(schema.field(name).type) for name in schema.names if name != "image"} == {
        **{"key": "string", "spectrogram": "list<element: list<element: uint8>>", "latitude": "double"},
        **{"longitude": "double", "title": "string", "tags": "string", "year": "double", "loud": "bool"},
    }
    rows = {row["key"]: row for table in tables for row in table.to_pylist()}
    assert sorted(rows) == [f"k{number}" for number in range(8)]
    assert (rows["k0"]["title"], rows["k1"]["title"], rows["k2"]["title"]) == ("=1+1", MIXED[1]["title"], None)
    assert (rows["k0"]["tags"], rows["k1"]["tags"]) == ('["a"]', '"b"')
    assert "preview" not in rows["k0"]


def test_a_folder_keeps_texts_but_runs_no_formula(tmp_path: Path) -> None:
    shards = write(tmp_path / "set", with_previews=True)
    run_export(ExportOptions(shards, tmp_path / "out", format="folder", split=("test",)))
    with (tmp_path / "out" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == ["k5", "k6", "k7"]
    assert {row["split"] for row in rows.values()} == {"test"}
    assert (rows["k6"]["title"], rows["k7"]["title"]) == ("'=1+1", MIXED[1]["title"])
    assert (rows["k6"]["longitude"], rows["k7"]["longitude"]) == ("1.5", "-2")
    assert (tmp_path / "out" / rows["k6"]["mp3name"]).read_bytes() == b"clip 6"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("export.json", "images", "metadata.csv", "previews", "spectrograms")
    ]


@pytest.mark.parametrize("form", ["parquet", "folder"])
def test_spectrograms_of_any_number_of_bands_are_the_stored_ones(form: str, tmp_path: Path) -> None:
    shards = write(tmp_path / "set", bands=64)
    manifest = Manifest.load(shards)
    run_export(ExportOptions(shards, tmp_path / "out", format=form))
    for number in range(sum(manifest.splits.values())):
        wanted = np.random.default_rng(number).integers(0, 256, (64, 128 + 7 * number), dtype=np.uint8)
        if form == "folder":
            found = np.load(tmp_path / "out" / "spectrograms" / f"k{number}.npy")
        else:
            tables = map(pyarrow.parquet.read_table, (tmp_path / "out" / "data").glob("*.parquet"))
            rows = {row["key"]: row for table in tables for row in table.to_pylist()}
            found = np.array(rows[f"k{number}"]["spectrogram"], dtype=np.uint8).T
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("licence", "front"),
    [("cc-by-4.0", "license: cc-by-4.0\n"), ("research only", 'license: other\nlicense_name: "research only"\n')],
)
def test_the_licence_of_the_set_is_on_the_card(licence: str, front: str, tmp_path: Path) -> None:
    shards = write(tmp_path / "set")
    record = json.loads((shards / "manifest.json").read_text()) | {"licence": licence}
    (shards / "manifest.json").write_text(json.dumps(record))
    run_export(ExportOptions(shards, tmp_path / "out"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith(f"---\n{front}configs:\n")
    assert f"Licence of the corpus as a whole: `{licence}`." in card


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write(tmp_path / "set")
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="and the export needs about"):
        run_export(ExportOptions(shards, tmp_path / "out"))
    assert not (tmp_path / "out" / "data").exists()
