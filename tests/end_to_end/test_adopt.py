"""Plain WebDataset sets of others become shard sets that train: `adopt`, `pretrain`, `evaluate`."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import SMALL, python, run
from foreign_sets import MadePair, made_pair, samples_of, usual_members, write_img2dataset, write_tars
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from shard_commands import ROOT, command, error_of, files_of, started_alone, wait_until
from shard_server import Fault, serve

from shards.manifest import Manifest

pytestmark = pytest.mark.slow


def shards_run(verb: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return run(python("shards/run.py", verb, *words), cwd=ROOT)


COUNTS = {"train": 40, "val": 10, "test": 12}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tars(tmp_path_factory.mktemp("foreign") / "set", COUNTS)


@pytest.fixture(scope="module")
def adopted(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("adopted") / "shards"
    result = shards_run("adopt", foreign, "--out", out, "--workers", "1", "--samples-per-shard", "16")
    assert result.returncode == 0, result.stderr
    return out, result.stdout + result.stderr


def test_a_foreign_set_is_adopted_and_trained_on(adopted: tuple[Path, str], tmp_path: Path) -> None:
    shards, said = adopted
    assert "splits are those of the corpus: train 40, val 10, test 12" in said
    assert "longitude from 'gps.lon'" in said
    assert not shards.with_name("shards.unpacked").exists()
    manifest = Manifest.load(shards)
    assert (manifest.source, manifest.splits, manifest.build["split_by"]) == ("webdataset", COUNTS, "source")
    stored = {sample["__key__"]: json.loads(sample["json"]) for sample in samples_of(shards)}
    for number in range(sum(COUNTS.values())):
        pair, about = made_pair(number), stored[f"{number:06d}"]
        assert (about["longitude"], about["latitude"]) == (pair.longitude, pair.latitude)
        assert about["description"] == f"place {number}"
        assert (about["creator"], about["licence"], about["seconds"]) == (f"author {number % 3}", "CC BY 4.0", 4.0)
    trained = run(
        python("pretrain/run.py", "--shards", shards, "--out", tmp_path / "run", *SMALL, "--batch-size", "8",
               "--epochs", "1"), cwd=ROOT,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    evaluated = run(
        python("retrieval/run.py", "evaluate", "--weights", tmp_path / "run", "--shards", shards, "--split", "test",
               "--out", tmp_path / "retrieval"), cwd=ROOT,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((tmp_path / "retrieval" / "metrics.json").read_text())
    assert metrics["gallery_size"] == COUNTS["test"]


def test_the_same_set_packed_otherwise_gives_the_same_pairs(
    foreign: Path, adopted: tuple[Path, str], tmp_path: Path
) -> None:
    """Compressed, from a server, with other member names and with sounds apart from images."""

    def renamed(pair: MadePair) -> dict[str, Any]:
        members = usual_members(pair)
        return {"tile.jpg": members["jpg"], "preview.png": b"x", "SOUND.flac": members["flac"], "json": members["json"]}

    other = write_tars(tmp_path / "other", COUNTS, members=renamed, suffix=".tar.gz")
    wanted = {sample["__key__"]: (sample["jpg"], sample["spectrogram.npy"]) for sample in samples_of(adopted[0])}
    with serve(other) as server:
        server.faults["train-000001.tar.gz"] = [Fault(cut_after=2000), Fault(status=503)]
        words = [f"{server.url}/{split}-{{000000..00000{(count - 1) // 8}}}.tar.gz" for split, count in COUNTS.items()]
        result = shards_run("adopt", *words, "--out", tmp_path / "out", "--image-key", "tile.jpg", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert {s["__key__"]: (s["jpg"], s["spectrogram.npy"]) for s in samples_of(tmp_path / "out")} == wanted
    assert Manifest.load(tmp_path / "out").splits == COUNTS


def test_a_command_killed_at_any_tar_resumes_and_ends_in_the_same_bytes(
    foreign: Path, adopted: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    words = [*command("adopt", foreign, "--out", out, "--workers", "1", "--samples-per-shard", "16")]
    rows = tmp_path / "shards.unpacked" / "rows"
    moments = (lambda: len(list(rows.glob("*.jsonl"))) >= 3, lambda: len(list(out.glob(".build/*.tar.json"))) >= 1)
    for moment in moments:
        process = subprocess.Popen(words, cwd=ROOT, env=started_alone(), stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        wait_until(lambda: moment() or process.poll() is not None)  # noqa: B023
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in rows.glob("*.jsonl")}
    assert len(kept) >= 3
    result = shards_run(
        "adopt", foreign, "--out", out, "--workers", "2", "--samples-per-shard", "16", "--keep-unpacked"
    )
    assert result.returncode == 0, result.stderr
    assert files_of(out) == files_of(adopted[0])
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    # Once more: nothing to do, and what was kept is removed unless it is to be kept.
    again = shards_run("adopt", foreign, "--out", out, "--samples-per-shard", "16")
    assert "nothing to do" in again.stdout, again.stderr
    assert not rows.exists()
    other = shards_run("adopt", foreign, "--out", out, "--samples-per-shard", "7")
    assert "with other options: samples_per_shard was 16 and is 7" in error_of(other)


def test_img2datasets_layout_with_sounds(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "set", 24)
    result = shards_run("adopt", folder, "--out", tmp_path / "out", "--workers", "1", "--split-by", "random")
    assert result.returncode == 0, result.stderr
    assert "1 Parquet files beside the tars, such as 00000.parquet, are not read" in result.stderr
    assert sum(Manifest.load(tmp_path / "out").splits.values()) == 24
    about = next(json.loads(sample["json"]) for sample in samples_of(tmp_path / "out"))
    assert about["description"].startswith("place ")


def test_samples_that_are_no_pairs_are_rejected_by_reason(tmp_path: Path) -> None:
    def members(pair: MadePair) -> dict[str, Any]:
        found = usual_members(pair)
        match pair.number:
            case 3:
                del found["jpg"]
            case 5:
                del found["flac"]
            case 7:
                del found["json"]
            case 9:
                found["json"] = b"{"
            case 11:
                found["flac"] = b"fLaC not a sound"
            case 13:
                found["json"]["gps"]["lat"] = 95
        return found

    folder = write_tars(tmp_path / "set", {"part": 40}, members=members)
    refused = shards_run("adopt", folder, "--out", tmp_path / "out", "--workers", "1")
    assert "rejected" in error_of(refused)
    checked = shards_run("adopt", folder, "--out", tmp_path / "out", "--check", "--max-rejected", "0.2")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    result = shards_run("adopt", folder, "--out", tmp_path / "out", "--workers", "1", "--max-rejected", "0.2")
    assert result.returncode == 0, result.stderr
    rejected = {rejection.key: rejection.reason for rejection in Manifest.load(tmp_path / "out").rejected}
    assert rejected == {
        **{"000003": "missing image", "000005": "missing sound", "000007": "missing coordinates"},
        **{"000009": "unreadable metadata", "000011": "undecodable sound", "000013": "coordinates out of range"},
    }


@pytest.mark.parametrize(
    ("without", "words"),
    [("flac", "has a sound .members: jpg 8, json 8.; Earshot learns from pairs of both, not from images alone"),
     ("jpg", "has an image .members: .*; Earshot learns from pairs of both, not from sounds alone"),
     ("json", "has no longitude and latitude, .* with --column longitude=NAME latitude=NAME")],
)  # fmt: skip
def test_a_set_without_one_of_them_is_refused_after_one_tar(without: str, words: str, tmp_path: Path) -> None:
    def members(pair: MadePair) -> dict[str, Any]:
        return {name: data for name, data in usual_members(pair).items() if name != without}

    folder = write_tars(tmp_path / "set", {"train": 32}, members=members, seconds=0.3)
    result = shards_run("adopt", folder, "--out", tmp_path / "out")
    assert re.search(words, error_of(result)), result.stderr
    assert len(list((tmp_path / "out.unpacked").glob("images/*"))) == 1


def test_keys_that_repeat_sessions_and_columns(tmp_path: Path) -> None:
    folder = write_tars(tmp_path / "set", {"part": 40}, key=lambda number: f"take {number % 8}", seconds=2.0)
    words = ["--split-by", "column", "--column", "session", "--column", "title=session"]
    result = shards_run("adopt", folder, "--out", tmp_path / "out", "--workers", "1", *words)
    assert result.returncode == 0, result.stderr
    assert "keys repeat across files (take 0), so the name of the file is put before each" in result.stderr
    abouts = [json.loads(sample["json"]) for sample in samples_of(tmp_path / "out")]
    assert len(abouts) == 40
    assert len({about["original_key"] for about in abouts}) == 40
    assert {about["original_key"] for about in abouts} >= {"part-000000/take 0", "part-000004/take 7"}
    of_split = {split: {json.loads(sample["json"])["title"] for sample in samples_of(tmp_path / "out", split)}
                for split in ("train", "val", "test")}  # fmt: skip
    assert max(Counter(title for titles in of_split.values() for title in titles).values()) == 1


def test_tiles_with_a_place_of_their_own_need_no_fields(tmp_path: Path) -> None:
    def members(pair: MadePair) -> dict[str, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(pair.image)))
        with MemoryFile() as memory:
            place = from_bounds(pair.longitude, 50, pair.longitude + 0.02, 50.02, 48, 48)
            with memory.open(driver="GTiff", width=48, height=48, count=3, dtype="uint8", crs="EPSG:4326",
                             transform=place) as tiff:  # fmt: skip
                tiff.write(np.moveaxis(pixels, -1, 0))
            return {"tif": memory.read(), "flac": pair.sound}

    folder = write_tars(tmp_path / "set", {"train": 20}, members=members, seconds=2.0)
    result = shards_run("adopt", folder, "--out", tmp_path / "out", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert "the corpus has one split alone (train 20), so others are drawn" in result.stderr
    about = {sample["__key__"]: json.loads(sample["json"]) for sample in samples_of(tmp_path / "out")}
    assert about["000004"]["longitude"] == pytest.approx(7.05, abs=1e-6)


def test_parts_and_a_limit(foreign: Path, adopted: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "shards"
    words = ["--out", str(out), "--workers", "1", "--samples-per-shard", "16"]
    for part in ("2/2", "1/2"):
        result = shards_run("adopt", foreign, *words, "--part", part)
        assert result.returncode == 0, result.stderr
    assert files_of(out) == files_of(adopted[0])
    shutil.rmtree(out)
    limited = shards_run("adopt", foreign, *words, "--limit", "30", "--keep-unpacked", "--split-by", "random")
    assert limited.returncode == 0, limited.stderr
    assert sum(Manifest.load(out).splits.values()) == 30
    # The tars in the order of their names: test (2), train (5), of which the third holds the last of 30.
    assert len(list((tmp_path / "shards.unpacked").glob("rows/*"))) == 5
