"""The files that `embed` writes hold the same embeddings, names and rejected files, whatever their format."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import python, run
from pyarrow import parquet
from released_runs import small_towers

from retrieval.embedding_files import WRITERS, EmbeddedFiles
from retrieval.options import EMBEDDING_SUFFIXES

REJECTED = {"x.jpg": ("undecodable image", "x.jpg: not JPEG")}
PROVENANCE: dict[str, object] = {"weights": "run", "kind": "images"}


def embedded(*names: str) -> EmbeddedFiles:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (len(names), 5)).astype(np.float32) * np.float32(10.0) ** rng.integers(
        -30, 30, (len(names), 5)
    )
    return EmbeddedFiles(list(names), rows.astype(np.float32), REJECTED)


def test_the_options_and_the_writers_name_the_same_formats() -> None:
    assert tuple(WRITERS) == EMBEDDING_SUFFIXES


def test_csv_gives_the_same_float32_again(tmp_path: Path) -> None:
    files = embedded("a, b.jpg", "deep/ü.tif", "=1+1.jpg", "\udcff.png")
    files.save(tmp_path / "new" / "out.csv", PROVENANCE)
    with (tmp_path / "new" / "out.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["name", *(f"embedding_{i}" for i in range(5))]
    # A spreadsheet would run the third name, and no file in UTF-8 can hold the fourth.
    assert [row[0] for row in rows] == ["a, b.jpg", "deep/ü.tif", "'=1+1.jpg", "\ufffd.png"]
    assert np.array_equal(np.array([row[1:] for row in rows]).astype(np.float32), files.embeddings)


def test_parquet_has_a_list_in_each_row(tmp_path: Path) -> None:
    files = embedded("a.jpg", "b.jpg", "\udcff.png")
    files.save(tmp_path / "out.parquet", PROVENANCE)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["name", "embedding"]
    assert table["name"].to_pylist() == ["a.jpg", "b.jpg", "\ufffd.png"]
    assert str(table.schema.field("embedding").type).startswith("fixed_size_list<")
    assert np.array_equal(np.array(table["embedding"].to_pylist(), np.float32), files.embeddings)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_was_left_out_is_named_beside_a_table(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    embedded("a.jpg").save(out, PROVENANCE)
    record = json.loads((tmp_path / f"out{suffix}.json").read_text())
    assert record == {
        "provenance": PROVENANCE,
        "rejected": [{"name": "x.jpg", "reason": "undecodable image", "detail": "x.jpg: not JPEG"}],
    }
    EmbeddedFiles(["a.jpg"], np.zeros((1, 5), np.float32), {}).save(out, PROVENANCE)
    assert json.loads((tmp_path / f"out{suffix}.json").read_text())["rejected"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out{suffix}", f"out{suffix}.json"]


def test_the_command_writes_all_formats_of_several_inputs(tmp_path: Path) -> None:
    small_towers().save_pretrained(tmp_path / "model")
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(
            str(tmp_path / name), np.random.default_rng(len(name)).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        )
    (tmp_path / "b" / "3.jpg").write_text("no image")
    (tmp_path / "list.txt").write_text("a/1.png\nb/2.png\n")
    names, rows = ["a/1.png", "b/1.png", "b/2.png"], []
    for out in ("out.npz", "out.csv", "out.parquet"):
        given = ["--images", "a", "b/*", "list.txt"]
        result = run(python("retrieval/run.py", "embed", "--weights", "model", *given, "--out", out), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "3 images embedded" in result.stdout
        assert "1 left out: 1 undecodable image" in result.stdout
        assert "2 files given more than once, embedded once" in result.stdout
    arrays = np.load(tmp_path / "out.npz")
    assert arrays["names"].tolist() == names
    assert arrays["rejected_names"].tolist() == ["b/3.jpg"]
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    rows = [row.split(",") for row in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert table["name"] == [row[0] for row in rows] == names
    assert np.array_equal(np.array(table["embedding"], np.float32), arrays["embeddings"])
    assert np.array_equal(np.array([row[1:] for row in rows]).astype(np.float32), arrays["embeddings"])
