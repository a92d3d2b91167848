"""A corpus as people write it becomes a shard set in two commands, the first of which is `build --check`."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import soundfile
import webdataset
from PIL import Image
from rasterio.transform import from_bounds
from shard_commands import error_of, run
from sound_writers import write_with_ffmpeg

from shards.manifest import Manifest
from shards.sources.keys import make_key

NUM_ROWS = 48
HEADER = ("Standort", "Länge", "Breite", "Kachel", "Aufnahme (Datei)", "Urheber", "Bemerkung", "Gebiet")


def write_sound(path: Path, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.05, 64_000)
    if path.suffix == ".m4a":
        write_with_ffmpeg(path, samples.astype(np.float32), 16_000, "aac", "ipod")
    else:
        soundfile.write(path, samples, 16_000, format=path.suffix[1:].upper())


def write_tile(path: Path, seed: int, longitude: float | None = None) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    if path.suffix.lower() != ".tif":
        Image.fromarray(pixels).save(path)
        return
    place: dict[str, Any] = {}
    if longitude is not None:
        place = {"crs": "EPSG:4326", "transform": from_bounds(longitude, 50, longitude + 0.02, 50.02, 64, 64)}
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **place) as tiff:
        tiff.write(np.moveaxis(pixels, -1, 0))


def as_people_write_it(root: Path) -> Path:
    """Own column names, semicolons, decimal commas, spaces, mixed case, several formats, and five mistakes."""
    (root / "Kacheln").mkdir(parents=True)
    (root / "audio" / "Tag 1").mkdir(parents=True)
    rows: list[list[str]] = []
    for number in range(NUM_ROWS):
        name = f"Aufnahme {number:02d}"
        suffix = (".wav", ".mp3", ".m4a")[number % 3]
        place = root / "audio" / ("Tag 1" if number % 2 else "")
        write_sound(place / f"{name}{suffix}", number)
        if suffix == ".wav":
            (place / f"{name}.wav").rename(place / f"{name.upper()}.WAV")
        tile = f"Kachel {number}{('.png', '.tif', '.jpg')[number % 3]}"
        has_own_place = number == 4
        write_tile(root / "Kacheln" / tile, number, 7.5 if has_own_place else None)
        longitude, latitude = ("", "") if has_own_place else (f"{7 + number / 100:.2f}", f"{50 + number / 100:.4f}")
        remark = 'am "alten" Wehr; früh' if number == 5 else ""
        # The table names sounds without folder and in its own case, and tiles from the root.
        rows.append(
            [f"Süd {number}", longitude.replace(".", ","), latitude.replace(".", ","), f"Kacheln/{tile}",
             f"{name}{suffix}", "Å. Müller", remark, f"G{number // 6}"]
        )  # fmt: skip
    (root / "audio" / "Tag 1" / f"Aufnahme 07{'.mp3'}").unlink()
    rows[9][4] = "Aufnahme-09.wav"  # the file has a space
    rows[10][2] = "95,5"
    (root / "Kacheln" / "Kachel 12.png").write_bytes(b"not found")
    rows[13][0] = "Süd 11"
    rows[13][1] = "sieben"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows([HEADER, *rows])
    (root / "Meine Aufnahmen.csv").write_bytes(text.getvalue().encode("utf-8-sig"))
    for junk in ("audio/._Aufnahme 00.wav", "audio/.DS_Store", "Kacheln/Thumbs.db"):
        (root / junk).write_bytes(b"x")
    return root


@pytest.fixture(scope="module")
def own_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only to be read."""
    return as_people_write_it(tmp_path_factory.mktemp("own") / "Feld 2024")


def arguments(root: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--source", "recordings", "--root", str(root), "--table", "Meine Aufnahmen.csv", "--out", str(out)),
        *("--column", "sound=Aufnahme (Datei)", "--workers", "1", *more),
    ]


def test_the_check_lists_every_problem_at_once_and_writes_nothing(own_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    result = run("build", *arguments(own_corpus, out, "--check"))
    assert result.returncode == 1, result.stderr
    assert not out.exists()
    assert (
        "note: columns: longitude from 'Länge', latitude from 'Breite', image from 'Kachel', key from 'Standort', "
        "description from 'Bemerkung', creator from 'Urheber' (override with --column role=NAME)"
    ) in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "48 rows: 43 usable pairs, 5 with problems"
    # Lines of the file: the header is line 1.
    listed = [line.strip() for line in lines if line.startswith("  line ")]
    assert listed == [
        "line 9: no audio/Aufnahme 07.mp3",
        "line 11: no audio/Aufnahme-09.wav; did you mean 'AUFNAHME 09.WAV'?",
        "line 12: longitude 7.1 must be within [-180, 180] and latitude 95.5 within [-90, 90]",
        "line 14: Kachel 12.png: not an image that is read",
        "line 15: key Süd 11 stands on line 13 already",
    ]
    headings = [line for line in lines if line.startswith(("missing", "coordinates", "undecodable", "duplicate"))]
    assert headings[0].startswith(
        "missing sound, 2: put the files into audio/ under the row's key, or name their column"
    )
    assert len(headings) == 4
    assert "splits at random, seed 0, exact shares: train 30, val 4, test 9" in lines
    assert lines[-1].startswith(
        "the build would fail: 5 of 48 pairs (10.4%) would be rejected, above --max-rejected 0.05"
    )


def test_a_corpus_as_people_write_it_is_built(own_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    # What the first attempt was refused for does not stand in the way of the second.
    refused = run("build", *arguments(own_corpus, out))
    assert "4 of 48 pairs are rejected" in error_of(refused)
    check = run("build", *arguments(own_corpus, out, "--check", "--max-rejected", "0.2"))
    assert check.returncode == 0, check.stdout
    built = run("build", *arguments(own_corpus, out, "--max-rejected", "0.2"))
    assert built.returncode == 0, built.stderr
    manifest = Manifest.load(out)
    # The build finds what the check has said, and divides the pairs that it lists.
    assert Counter(rejection.reason for rejection in manifest.rejected) == {
        "missing sound": 2,
        "coordinates out of range": 1,
        "duplicate key": 1,
        "undecodable image": 1,
    }
    assert sum(manifest.splits.values()) == 43
    assert (manifest.build["split_by"], manifest.build["split_shares"]) == ("random", "exact")
    assert manifest.build["columns"] == {"sound": "Aufnahme (Datei)"}
    assert manifest.warnings == tuple(
        f"{split} has {manifest.splits[split]} pairs; figures from fewer than 30 depend mostly on chance"
        for split in ("val", "test")
    )
    assert f"warning: {manifest.warnings[0]}" in built.stdout
    samples = {
        sample["__key__"]: json.loads(sample["json"])
        for entry in manifest.shards
        for sample in webdataset.WebDataset(str(out / entry.name), shardshuffle=False)
    }
    fifth = samples[make_key("Süd 5")]
    assert fifth["original_key"] == "Süd 5"
    assert (fifth["longitude"], fifth["latitude"]) == (7.05, 50.05)
    assert (fifth["creator"], fifth["description"]) == ("Å. Müller", 'am "alten" Wehr; früh')
    assert samples[make_key("Süd 4")]["longitude"] == pytest.approx(7.51)
    assert run("verify", out).returncode == 0
    info = run("info", out)
    assert "at random, seed 0, exact shares" in info.stdout
    assert f"warning      {manifest.warnings[1]}" in info.stdout


def test_the_check_agrees_with_a_build_on_a_documented_table(small_corpus: Path, tmp_path: Path) -> None:
    more = ["--source", "recordings", "--root", str(small_corpus), "--out", str(tmp_path / "set")]
    result = run("build", *more, "--check", "--max-rejected", "0.1")
    assert result.returncode == 0, result.stdout
    assert "44 rows: 40 usable pairs, 4 with problems" in result.stdout
    assert "splits by the last digit of the key (7 val, 2 and 5 test): train 28, val 4, test 8" in result.stdout
    assert "the build would pass: 4 of 44 pairs (9.1%) would be rejected" in result.stdout
    unsplit = run("build", *more, "--check", "--max-rejected", "0.1", "--split-by", "column", "--column", "nothing")
    assert unsplit.returncode == 1
    assert "no splits: --column nothing: the table has no such column; choose one of: key" in unsplit.stdout


def test_every_problem_of_a_row_is_listed(tmp_path: Path) -> None:
    for folder in ("images", "audio"):
        (tmp_path / folder).mkdir()
    write_tile(tmp_path / "images" / "1.png", 1)
    (tmp_path / "audio" / "1.wav").touch()
    (tmp_path / "metadata.csv").write_text("key,longitude,latitude\n1,7,50\n2,seven,50\n,7,50\n")
    result = run("build", "--source", "recordings", "--root", tmp_path, "--out", tmp_path / "set", "--check")
    assert result.returncode == 1
    listed = [line.strip() for line in result.stdout.splitlines() if line.startswith("  line ")]
    assert sorted(line[:24] for line in listed) == [
        "line 2: 1.wav: the file ",
        "line 3: could not conver",
        "line 3: no audio/2 with ",
        "line 3: no images/2 with",
        "line 4: the key is empty",
    ]


def test_the_table_of_a_first_field_day_is_understood(tmp_path: Path) -> None:
    rows = [f"{n};01.05.2024;48,1{n:02d};11,5{n:02d};t{n}.wav;l{n}.png" for n in range(60)]
    rows[30] = "30;01.05.2024;11,530;48,130;t30.wav;l30.png"
    header = "Nr.;Datum;Breite (°N);Länge (°O);Tondatei;Luftbild"
    (tmp_path / "metadata.csv").write_bytes("\r\n".join([header, *rows]).encode("windows-1252"))
    for folder in ("images", "audio"):
        (tmp_path / folder).mkdir()
    for number in range(60):
        write_tile(tmp_path / "images" / f"l{number}.png", number)
        write_sound(tmp_path / "audio" / f"t{number}.wav", number)
    arguments = ("--source", "recordings", "--root", tmp_path, "--out", tmp_path / "set", "--check")
    result = run("build", *arguments)
    assert result.returncode == 0, result.stderr
    assert (
        "columns: longitude from 'Länge (°O)', latitude from 'Breite (°N)', sound from 'Tondatei', image from "
        "'Luftbild', key from 'Nr.', date_recorded from 'Datum' (override with --column role=NAME)"
    ) in result.stderr
    assert "60 rows: 60 usable pairs, 0 with problems" in result.stdout
    (warning,) = [line for line in result.stdout.splitlines() if "swapped" in line]
    assert warning.startswith("warning: line 32: latitude 11.53, longitude 48.13 is 5,")
    # Of one kind of problem, ten lines are enough.
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    result = run("build", *arguments)
    assert result.stdout.count("  line ") == 10
    assert "  and 50 more\n" in result.stdout
    assert "0/0" not in result.stderr


def test_same_images_are_counted_and_kept_together_where_asked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("images", "audio"):
        (root / folder).mkdir(parents=True)
    rows = ["key,longitude,latitude"]
    for key in range(40):
        # Every four pairs have one image, with contrast, once at another quality.
        corners = np.random.default_rng(key // 4).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        tile = Image.fromarray(corners).resize((128, 128), Image.Resampling.BICUBIC)
        tile.save(root / "images" / f"{key}.jpg", quality=95 if key % 4 else 70)
        write_sound(root / "audio" / f"{key}.wav", key)
        rows.append(f"{key},7,{key}")
    (root / "metadata.csv").write_text("\n".join(rows))
    found = {}
    for split_by in ("random", "image"):
        out = tmp_path / split_by
        result = run("build", "--source", "recordings", "--root", root, "--out", out, "--split-by", split_by)
        assert result.returncode == 0, result.stderr
        manifest = Manifest.load(out)
        assert manifest.splits == {"train": 28, "val": 4, "test": 8}
        found[split_by] = manifest.repeated_images
        assert "same images: 40 pairs share their image with another" in result.stdout
    assert found["random"]["across_splits"] > 20
    assert len(found["random"]["keys"]["test"]) > 4
    assert found["image"]["across_splits"] == 0
    # The first of each image is kept: two images in test, one in val.
    assert {split: len(keys) for split, keys in found["image"]["keys"].items()} == {"val": 3, "test": 6}
