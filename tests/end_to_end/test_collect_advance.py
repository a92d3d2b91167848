"""ADVANCE's rules as a user runs them: every boundary on real sound files, resuming, mistakes, and the benchmark."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from advance_corpora import RATE_HZ, TAGS, Row, offset_of, write_corpus, write_map
from commands import python, run
from overpass_server import OverpassServer, Trouble, serve_overpass

from downstream.audiovisual.advance import find_pairs
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.locks import lock_folder

SMALL = ("--tile-pixels", "32", "--workers", "2")

ROWS = [
    *(Row(f"b{n}", "beach", 3, n) for n in range(9)),  # 9 pairs
    *(Row(f"l{n}", "lake", 2.5, n) for n in range(6)),  # with those below 10
    Row("l6", "lake", 2.0, 6),
    Row("l7", "lake", 10.0, 7),
    Row("l8", "lake", 10.001, 8, suffix=".flac"),
    Row("l9", "lake", 25.0, 9, suffix=".ogg"),
    Row("short", "lake", 1.99, 10),  # would be the 11th
    *(Row(f"f{n}", "forest", 3, n) for n in range(99)),  # 99 pairs
    *(Row(f"h{n}", "harbour", 3, n) for n in range(99)),  # with the next 100, two of one place
    Row("Harbour 99", "harbour", 3, 0),
    Row("nowhere", "", 3, 0),
    Row("out", "residential", 3, 0),
]


def command(root: Path, out: Path, *more: str | Path) -> list[str]:
    return python("shards/run.py", "collect", "advance", "--root", root, "--out", out, *SMALL, *more)


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus, with map.geojson and corrections.csv in it."""
    root = write_corpus(tmp_path_factory.mktemp("corpus") / "root", ROWS)
    (root / "audio" / "broken.wav").write_bytes(b"RIFF")
    with (root / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("broken,broken.wav,1.2,0.5,Ann,by\nmissing,missing.wav,1.2,0.5,Ann,by\n")
    (root / "images" / "broken.png").write_bytes((root / "images" / "l0.png").read_bytes())
    (root / "images" / "missing.png").write_bytes((root / "images" / "l0.png").read_bytes())
    write_map(root / "map.geojson")
    (root / "corrections.csv").write_text("key,label\nout,\nHarbour 99,harbour\nunheard of,lake\n")
    return root


@pytest.fixture(scope="module")
def collected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The set, and what the command printed."""
    out = tmp_path_factory.mktemp("set") / "advance"
    done = run(command(corpus, out, *inputs(corpus)), cwd=corpus)
    assert done.returncode == 0, done.stderr
    return out, done.stdout + done.stderr


def inputs(corpus: Path) -> tuple[str | Path, ...]:
    return "--osm", corpus / "map.geojson", "--corrections", corpus / "corrections.csv"


def test_every_row_is_accounted_for(collected: tuple[Path, str]) -> None:
    out, printed = collected
    rows = {row["key"]: row for row in read_table(out / "rows.csv")}
    assert len(rows) == len(ROWS) + 2
    assert Counter(row["outcome"] for row in rows.values()) == {
        "kept": 10 + 99 + 100,
        "class of fewer than 10 pairs": 9,
        "shorter than 2 s": 1,
        "no label": 1,
        "taken out by a correction": 1,
        "undecodable sound": 1,
        "missing sound": 1,
    }
    assert rows["short"]["outcome"] == "shorter than 2 s"
    assert (rows["l6"]["seconds"], rows["l6"]["outcome"]) == ("2.0", "kept")
    assert (rows["l0"]["label_from"], rows["Harbour 99"]["label_from"]) == ("natural=water & water=lake", "correction")
    summary = json.loads((out / "advance.json").read_text())
    assert summary["outcomes"]["kept"] == 209
    assert "1 corrections have keys that the table lacks, such as 'unheard of'" in printed
    assert "shorter than 2 s" in printed


def test_classes_at_their_boundaries(collected: tuple[Path, str]) -> None:
    out, _ = collected
    assert json.loads((out / "advance.json").read_text())["classes"] == {
        "beach": {"rows": 9, "decision": "dropped", "pairs": 0},
        "lake": {"rows": 10, "decision": "shifted", "pairs": 50},
        "forest": {"rows": 99, "decision": "shifted", "pairs": 495},
        "harbour": {"rows": 100, "decision": "kept", "pairs": 100},
    }
    found = find_pairs(out)
    assert found.unpaired == []
    assert Counter(found.classes[pair.label] for pair in found.pairs) == {"lake": 50, "forest": 495, "harbour": 100}
    assert sorted(path.name for path in (out / "vision").iterdir()) == ["forest", "harbour", "lake"]
    # Two recordings of one place have one location, so that no split divides them.
    locations = Counter(pair.location for pair in found.pairs if pair.key.startswith("harbour"))
    assert sorted(locations.values())[-2:] == [1, 2]


def test_clips_are_ten_seconds_of_their_recording(collected: tuple[Path, str], corpus: Path) -> None:
    out, _ = collected
    pairs = read_table(out / "pairs.csv")
    assert len(pairs) == 645
    repeats = {"l6": 6, "l0": 5, "l7": 2, "l8": 1, "l9": 1, "f0": 4}
    for pair in pairs:
        clip, rate_hz = soundfile.read(out / "sound" / pair["class"] / f"{pair['file']}.wav", dtype="int16")
        assert (len(clip), rate_hz) == (10 * RATE_HZ, RATE_HZ)
        if pair["key"] not in repeats:
            continue
        assert int(pair["repeats"]) == repeats[pair["key"]]
        source = next((corpus / "audio").glob(f"{pair['key']}.*"))
        whole = soundfile.read(source, dtype="int16")[0]
        start = round(float(pair["clip_start_seconds"]) * RATE_HZ)
        expected = np.tile(whole, repeats[pair["key"]])[start : start + 10 * RATE_HZ]
        assert np.abs(clip.astype(int) - expected).max() <= (400 if source.suffix == ".ogg" else 1), pair["key"]
    assert pairs[0]["creator"] == "Ann"


def test_shifted_tiles_lie_around_the_place_each_with_a_clip_of_its_own(collected: tuple[Path, str]) -> None:
    out, _ = collected
    expected = {"centre": (0, 0), "north": (0, -8), "east": (8, 0), "south": (0, 8), "west": (-8, 0)}
    for key in ("l6", "f98"):
        pairs = [pair for pair in read_table(out / "pairs.csv") if pair["key"] == key]
        files = {pair["direction"]: out / "vision" / pair["class"] / f"{pair['file']}.jpg" for pair in pairs}
        assert {direction: offset_of(path) for direction, path in files.items()} == expected
        assert len({pair["clip_start_seconds"] for pair in pairs}) == 5
        stem = pairs[0]["file"]
        assert [pair["file"] for pair in pairs] == [stem, *(f"{stem}_{number}" for number in range(1, 5))]


def test_a_finished_set_is_left_alone_and_another_plan_is_refused(collected: tuple[Path, str], corpus: Path) -> None:
    out, _ = collected
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    done = run(command(corpus, out, *inputs(corpus)), cwd=corpus)
    assert done.returncode == 0, done.stderr
    assert "is finished already" in done.stdout
    refused = run(command(corpus, out, *inputs(corpus), "--seed", "1"), cwd=corpus)
    assert refused.returncode == 2
    assert "holds a set with another seed; give another --out" in refused.stderr
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_a_folder_is_built_by_one_command_at_a_time(corpus: Path, tmp_path: Path) -> None:
    with lock_folder(tmp_path / "set", "a test holds it"):
        refused = run(command(corpus, tmp_path / "set", *inputs(corpus)), cwd=corpus)
    assert refused.returncode == 2
    assert "set is in use: another command builds a set in it; wait for it or stop it" in refused.stderr


@pytest.mark.slow
def test_an_interrupted_command_resumes_to_the_same_bytes(
    collected: tuple[Path, str], corpus: Path, tmp_path: Path
) -> None:
    whole, _ = collected
    out = tmp_path / "advance"
    first = run(command(corpus, out, *inputs(corpus)), cwd=corpus)
    assert first.returncode == 0
    kept = out / "sound" / "forest" / "00030.wav"
    for path in sorted(out.rglob("*")):  # as if it had been killed before it wrote half of the forest
        if path.name in ("advance.json", "pairs.csv", "rows.csv") or (path.suffix == ".jpg" and path.stem > "00070"):
            path.unlink()
    written = kept.stat().st_mtime_ns
    again = run(command(corpus, out, *inputs(corpus)), cwd=corpus)
    assert again.returncode == 0, again.stderr
    assert kept.stat().st_mtime_ns == written
    assert files_of(out) == files_of(whole)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_without_room_and_neighbouring_tiles(tmp_path: Path) -> None:
    rows = [*(Row(f"a{n}", "lake", 3, n, side=40) for n in range(9)), Row("a9", "lake", 3, 9, side=24 + 16)]
    root = write_corpus(tmp_path / "root", rows)
    neighbour = write_corpus(tmp_path / "other", [Row("x", "lake", 2, 0, side=36)]) / "images" / "x.png"
    (root / "images" / "a3_east.png").write_bytes(neighbour.read_bytes())
    out = tmp_path / "out"
    done = run(command(root, out, "--osm", write_map(tmp_path / "map.geojson")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pairs = read_table(out / "pairs.csv")
    assert [pair["direction"] for pair in pairs if pair["key"] == "a3"] == ["centre", "east"]
    assert len(pairs) == 11
    assert "39 shifted tiles could not be made: no room for a shifted tile" in done.stdout


def answer_by_region(place: tuple[float, float]) -> list[dict[str, Any]]:
    column = int(place[0])
    return [{"type": "way", "id": 1, "tags": list(TAGS.values())[column]}] if column < len(TAGS) else []


@pytest.fixture
def overpass() -> Iterator[OverpassServer]:
    with serve_overpass(answer_by_region) as server:
        yield server


def test_labels_from_a_service_survive_its_refusal(overpass: OverpassServer, tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "root", [Row(f"h{n}", "harbour", 3, n) for n in range(10)])
    out = tmp_path / "out"
    asked = ("--overpass", overpass.url, "--overpass-seconds", "0.001")
    overpass.troubles = [*[Trouble()] * 4, *[Trouble(429, body="")] * 6]
    refused = run(command(root, out, *asked), cwd=tmp_path)
    assert refused.returncode == 2
    assert "--overpass gives no answer" in refused.stderr
    assert "HTTP 429 Too Many Requests, 6 times" in refused.stderr
    done = run(command(root, out, *asked), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(read_table(out / "pairs.csv")) == 50
    # No place was answered twice: four before the refusal, six refusals of one, six after.
    assert len(overpass.places) == 16
    assert len(set(overpass.places)) == 10


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "nothing to label by; give --osm"),
        (("--osm", "nowhere.geojson"), "--osm nowhere.geojson: no such file"),
        (("--overpass", "x", "--osm", "y"), "can't be given together"),
        (("--corrections", "corrections.csv", "--shift-share", "0"), "--shift-share must be from 0.01 to 1, got 0"),
        (("--corrections", "empty.csv"), "no pair is left by ADVANCE's rules: no label 2"),
    ],
)
def test_mistakes_end_in_a_sentence(more: tuple[str, ...], words: str, tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "root", [Row("a", "lake", 3, 0), Row("b", "lake", 3, 1)])
    (tmp_path / "empty.csv").write_text("key,label\n")
    done = run(command(root, tmp_path / "out", *more), cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_benchmark_runs_on_the_set(collected: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = collected
    torch.manual_seed(0)
    TwoTower(TwoTowerConfig(image_size=32, sound_pooling=4)).save_pretrained(tmp_path / "model")
    words = ("--tracker", "none", "--workers", "0", "--precision", "fp32", "--threads", "1", "--protocol", "tuned")
    done = run(
        python("downstream/run.py", "advance", "--root", out, "--weights", tmp_path / "model", "--out",
               tmp_path / "results", "--allow-partial", *words),
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    assert results["num_train"] + results["num_test"] > 500
