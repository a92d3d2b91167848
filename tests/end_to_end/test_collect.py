"""From an archive and a map service to scores: `collect` killed and resumed, then cleaned, built and trained on."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from archive_server import ArchiveServer, Fault, serve_archive
from commands import SMALL, environment, python, run, warm_python
from pair_folders import RATE_HZ, tone
from PIL import Image
from shard_commands import error_of, wait_until
from tile_server import TileServer, picture, serve_tiles

from shards.manifest import Manifest

NUM_SOUNDS = 48
RATE = 40.0
KEY = "k/e y"


def sound_of(number: int) -> bytes:
    out = io.BytesIO()
    samples = tone(200.0 + 40 * number, np.random.default_rng(number), seconds=4.0)
    soundfile.write(out, samples, RATE_HZ, format="FLAC")
    return out.getvalue()


def fill(archive: ArchiveServer) -> None:
    """48 recordings, and five items that can't be used, each for a reason of its own."""
    for number in range(NUM_SOUNDS):
        title = "testsound" if number in (3, 30) else f"river {number}"
        archive.add(
            f"aporee_{1000 + number}_{2000 + number}", {f"walk {number}.flac": sound_of(number)}, length="4.0",
            coverage=f"{45 + number / 10:.4f},{7 + number / 7:.4f},somewhere", title=title, creator=f"u{number % 5}",
            licenseurl="http://creativecommons.org/licenses/by-nc/3.0/", date="2019-05-01", description="<p>water</p>",
        )  # fmt: skip
    archive.add("aporee_no_place", {"a.mp3": b"x"})
    archive.add("aporee_no_sound", {"a.jpg": b"x"}, coverage="45.5,7.5")
    archive.add("aporee_short", {"a.mp3": b"x"}, length="0.2", coverage="45.5,7.5")
    archive.add("aporee_bad", {"a.mp3": b"x" * 100}, coverage="45.5,7.5")
    archive.contents["aporee_bad", "a.mp3"] = b"y" * 100
    archive.add("aporee_arctic", {"a.flac": sound_of(0)}, length="4.0", coverage="89.5,7.5")
    archive.page_items = 17


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def collected(archive: ArchiveServer, out: Path) -> list[str]:
    words = (
        "--out",
        out,
        "--base-url",
        archive.url,
        "--rate",
        RATE,
        "--backoff",
        "0.05",
        "--contact",
        "lab@example.org",
    )
    return python("shards/run.py", "collect", "aporee", *words)


def tiles_words(tiles: TileServer, out: Path, *more: str) -> list[str]:
    words = ("--out", out, "--xyz", f"{tiles.url}/{{z}}/{{x}}/{{y}}.png?key={{key}}", "--rate", 1000, "--side", 96)
    words += ("--terms", "https://example.org/terms", "--attribution", "© Test Survey", "--coarser", "2")
    return python("shards/run.py", "collect", "tiles", *words, *more)


@pytest.mark.slow
def test_a_collection_that_is_killed_resumes_and_can_be_trained_on(tmp_path: Path) -> None:
    out, shards = tmp_path / "corpus", tmp_path / "shards"
    with serve_archive() as archive:
        fill(archive)
        names = [f"/0/items/aporee_{1000 + n}_{2000 + n}/walk {n}.flac" for n in range(NUM_SOUNDS)]
        for name in (names[5], names[20], names[40]):  # a kill meets these half fetched
            archive.always[name] = Fault(seconds_a_chunk=0.05)
        archive.faults[names[8]] = [Fault(status=429, headers={"Retry-After": "1"}), Fault(cut_after=9000)]
        archive.faults["/metadata/aporee_1010_2010"] = [Fault(status=503), Fault(body=b"<html>")]
        part_of = {n: out / "audio" / f".aporee_{1000 + n}_{2000 + n}.flac.download" for n in (5, 20, 40)}
        for number in (5, 20, 40):
            process = warm_python().start(collected(archive, out), cwd=tmp_path, environment=environment())
            wait_until(lambda path=part_of[number]: path.exists() and path.stat().st_size > 8192)  # type: ignore[misc]
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(60).returncode == -signal.SIGKILL
        result = run(collected(archive, out), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert f"{NUM_SOUNDS + 1} sounds" in result.stdout
        assert f"licences: http://creativecommons.org/licenses/by-nc/3.0/ {NUM_SOUNDS}, none stated 1" in result.stdout
        check_that_nothing_was_fetched_twice(archive, names)
        assert archive.slowest_rate() <= RATE * 1.1
        assert {request.headers["user-agent"].split("/")[0] for request in archive.requests} == {"Earshot"}
    rejected = {row["identifier"]: row["reason"] for row in rows_of(out / "rejected-sounds.csv")}
    assert rejected == {
        **{"aporee_no_place": "no coordinates", "aporee_no_sound": "no sound file"},
        **{"aporee_short": "too short", "aporee_bad": "wrong checksum"},
    }
    rows = rows_of(out / "metadata.csv")
    assert [row["key"] for row in rows] == [f"aporee_{1000 + n}_{2000 + n}" for n in range(NUM_SOUNDS)] + [
        "aporee_arctic"
    ]
    for number in range(NUM_SOUNDS):
        assert (out / "audio" / rows[number]["mp3name"]).read_bytes() == sound_of(number)

    result = run(python("shards/run.py", "collect", "clean", out), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 excluded, 0 matched but kept" in result.stdout
    with serve_tiles() as tiles:
        tiles.key = KEY
        result = run(tiles_words(tiles, out), cwd=tmp_path, EARSHOT_IMAGERY_KEY=KEY)
        assert result.returncode == 0, result.stderr
        assert f"{NUM_SOUNDS - 2} images made" in result.stdout
        assert "1 without an image: beyond the map 1" in result.stdout
        assert len(tiles.paths) == len(set(tiles.paths))
    check_images(out)
    check_that_the_key_was_not_written(out, result.stdout + result.stderr)

    words = ("--source", "recordings", "--root", out, "--out", shards, "--workers", 1, "--samples-per-shard", 8)
    result = run(python("shards/run.py", "build", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    manifest = Manifest.load(shards)
    assert sum(shard.num_samples for shard in manifest.shards) == NUM_SOUNDS - 2
    result = run(
        python("pretrain/run.py", "demo", "--shards", shards, "--out", tmp_path / "run", "--epochs", 1, *SMALL),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    words = ("--weights", tmp_path / "run", "--shards", shards, "--split", "test", "--out", tmp_path / "retrieval")
    result = run(python("retrieval/run.py", "evaluate", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "retrieval" / "metrics.json").read_text())
    assert metrics["gallery_size"] == manifest.num_samples("test")


def check_that_nothing_was_fetched_twice(archive: ArchiveServer, names: list[str]) -> None:
    """By the server's own log: each page and record once, and no byte of a file but where a kill met it."""
    pages = Counter(request.query.get("cursor", "") for request in archive.requests if "scrape" in request.path)
    assert max(pages.values()) == 1
    assert len(pages) == 4
    records = Counter(archive.paths("/metadata/"))
    assert records.pop("/metadata/aporee_1010_2010") == 3  # two failures
    assert records.pop("/metadata/aporee_bad") == 2  # asked for once more when the file was another one
    assert set(records.values()) == {1}
    for number, name in enumerate(names):
        starts = [request.first_byte for request in archive.requests if request.path == name]
        if number in (5, 20, 40):  # killed once, resumed from what was there
            assert [start > 8192 for start in starts] == [False, True], (name, starts)
        elif number == 8:  # 429, cut off, resumed
            assert starts[:2] == [0, 0]
            assert len(starts) == 3
            assert 0 < starts[2] <= 9000
        else:
            assert starts == [0], (name, starts)


def check_images(out: Path) -> None:
    """Each image is the map around its place, to a grey level or two, and the table says where it is from."""
    rows = rows_of(out / "metadata.csv")
    assert len(rows) == NUM_SOUNDS - 2
    for row in rows[:5]:
        image = np.asarray(Image.open(out / "images" / f"{row['key']}.jpg")).astype(float)
        latitude = np.radians(float(row["latitude"]))
        x, y = np.radians(float(row["longitude"])) * 6378137.0, np.arcsinh(np.tan(latitude)) * 6378137.0
        half = 96 * 0.2 / np.cos(latitude) / 2
        expected = picture(x - half, y - half, x + half, y + half, 96, 96)
        assert np.abs(image - expected).mean() < 1.5
        assert (row["image_attribution"], row["image_terms"]) == ("© Test Survey", "https://example.org/terms")
        assert row["image_zoom"] == "19"
    excluded = {row["key"]: row["excluded_by"] for row in rows_of(out / "excluded.csv")}
    assert excluded == {
        **{"aporee_1003_2003": "collect clean", "aporee_1030_2030": "collect clean"},
        "aporee_arctic": "collect tiles",
    }


def check_that_the_key_was_not_written(out: Path, printed: str) -> None:
    for form in (KEY, "k%2Fe%20y", "k%2Fe+y"):
        assert form not in printed
        assert [str(path) for path in out.rglob("*") if path.is_file() and form.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_collection_that_is_asked_to_end_writes_its_tables(tmp_path: Path) -> None:
    with serve_archive() as archive:
        fill(archive)
        name = "/0/items/aporee_1005_2005/walk 5.flac"
        archive.always[name] = Fault(seconds_a_chunk=0.05)
        process = warm_python().start(collected(archive, tmp_path), cwd=tmp_path, environment=environment())
        wait_until(lambda: name in archive.paths())
        os.kill(process.pid, signal.SIGTERM)
        result = process.wait(60)
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert "stopped by SIGTERM; finished work is kept" in result.stderr
    assert [row["key"] for row in rows_of(tmp_path / "metadata.csv")] == [
        f"aporee_{1000 + n}_{2000 + n}" for n in range(5)
    ]


@pytest.mark.slow
def test_cleaning_is_undone_to_the_byte(tmp_path: Path) -> None:
    with serve_archive() as archive:
        fill(archive)
        archive.page_items = 100
        assert run([*collected(archive, tmp_path), "--rate", "1000"], cwd=tmp_path).returncode == 0
    before = (tmp_path / "metadata.csv").read_bytes()
    clean = python("shards/run.py", "collect", "clean", tmp_path)
    assert run(clean, cwd=tmp_path).returncode == 0
    assert len(rows_of(tmp_path / "metadata.csv")) == NUM_SOUNDS - 1
    review = rows_of(tmp_path / "review.csv")
    assert [(row["key"], row["decision"], row["field"], row["text"]) for row in review] == [
        ("aporee_1003_2003", "exclude", "title", "testsound"),
        ("aporee_1030_2030", "exclude", "title", "testsound"),
    ]
    assert "not excluded by" in error_of(run([*clean, "--restore", "aporee_1003_200"], cwd=tmp_path))
    assert run([*clean, "--restore", "all"], cwd=tmp_path).returncode == 0
    assert (tmp_path / "metadata.csv").read_bytes() == before
    result = run(clean, cwd=tmp_path)
    assert "0 excluded, 2 matched but kept" in result.stdout
    assert (tmp_path / "metadata.csv").read_bytes() == before
