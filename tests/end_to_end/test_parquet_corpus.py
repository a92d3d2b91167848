"""Corpora as the hub has them: Parquet files of images, sounds and metadata become shard sets that train."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from commands import SMALL, python, run
from foreign_sets import HUB_SCHEMA, MEDIA, MadePair, hub_row, made_pair, samples_of, write_parquet
from shard_commands import ROOT, command, error_of, files_of, started_alone, wait_until

from shards.manifest import Manifest

pytestmark = pytest.mark.slow


def shards_run(verb: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return run(python("shards/run.py", verb, *words), cwd=ROOT)


COUNTS = {"train": 40, "val": 10, "test": 12}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("hub") / "corpus", {"train": 40, "validation": 10, "test": 12})


@pytest.fixture(scope="module")
def built(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("built") / "shards"
    result = build(hub, out)
    assert result.returncode == 0, result.stderr
    return out, result.stderr


def build(root: Path, out: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return shards_run("build", "--source", "parquet", "--root", root, "--out", out, "--workers", "1", *more)


def test_a_corpus_of_the_hub_is_built_and_trained_on_and_its_licence_shows(
    built: tuple[Path, str], tmp_path: Path
) -> None:
    shards, said = built
    assert "images are those of column 'googleearth_image', sounds those of 'audio'; not used: mel_features" in said
    manifest = Manifest.load(shards)
    assert (manifest.source, manifest.splits, manifest.licence) == ("parquet", COUNTS, "cc-by-4.0")
    about = {sample["__key__"]: json.loads(sample["json"]) for sample in samples_of(shards)}
    # 32-bit coordinates have the digits that they were given.
    assert about["aporee-15"]["longitude"] == 7.15
    assert about["aporee-15"]["description"] == "birds at place 15"
    assert about["aporee-15"]["date_recorded"] == "2019-05-04"
    run_folder = tmp_path / "run"
    words = ["--shards", shards, "--out", run_folder, *SMALL, "--batch-size", "8", "--epochs", "1"]
    trained = run(python("pretrain/run.py", *words), cwd=ROOT)
    assert trained.returncode == 0, trained.stderr
    assert "published under `cc-by-4.0`." in (run_folder / "model" / "README.md").read_text()
    words = [
        "evaluate",
        "--weights",
        run_folder,
        "--shards",
        shards,
        "--split",
        "test",
        "--out",
        tmp_path / "retrieval",
    ]
    evaluated = run(python("retrieval/run.py", *words), cwd=ROOT)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads((tmp_path / "retrieval" / "metrics.json").read_text())["gallery_size"] == 12
    released = run(python("pretrain/run.py", "release", run_folder, "--out", tmp_path / "release"), cwd=ROOT)
    assert released.returncode == 0, released.stderr
    for name in ("README.md", "NOTICE.md"):
        assert "The corpus as a whole is published under `cc-by-4.0`." in (tmp_path / "release" / name).read_text()


def test_two_images_are_a_question_and_research_only_restricts(tmp_path: Path) -> None:
    schema = HUB_SCHEMA.append(pyarrow.field("sentinel_image", MEDIA)).remove_metadata()

    def row(pair: MadePair) -> dict[str, Any]:
        other = made_pair(pair.number, image=".png")
        return {**hub_row(pair), "sentinel_image": {"bytes": other.image, "path": None}}

    root = write_parquet(tmp_path / "corpus", {"train": 24, "val": 8}, row=row, schema=schema, card="")
    sentence = error_of(build(root, tmp_path / "out"))
    assert "the image may be 'googleearth_image' or 'sentinel_image'" in sentence
    assert "--column image=googleearth_image" in sentence
    words = ["--column", "image=sentinel_image", "--licence", "research only"]
    result = build(root, tmp_path / "out", *words)
    assert result.returncode == 0, result.stderr
    manifest = Manifest.load(tmp_path / "out")
    assert (manifest.licence, manifest.build["licence"]) == ("research only", "research only")
    trained = run(
        python("pretrain/run.py", "--shards", tmp_path / "out", "--out", tmp_path / "run", *SMALL, "--batch-size", "8",
               "--epochs", "1"), cwd=ROOT,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "`research only`; it restricts commercial use or derivatives, or allows research only" in card


def test_paths_instead_of_bytes_are_found_in_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    (root / "data" / "sounds").mkdir(parents=True)
    (tmp_path / "secret.mp3").write_bytes(made_pair(9).sound)
    (root / "linked.mp3").symlink_to(tmp_path / "secret.mp3")
    names = {3: "../../secret.mp3", 5: str(tmp_path / "secret.mp3"), 7: "../linked.mp3", 11: "none.mp3", 13: None,
             15: "https://host.example/a.mp3"}  # fmt: skip

    def row(pair: MadePair) -> dict[str, Any]:
        (root / "data" / "sounds" / f"{pair.number}.mp3").write_bytes(pair.sound)
        (root / f"{pair.number}.jpg").write_bytes(pair.image)
        name = names.get(pair.number, f"sounds/{pair.number}.mp3")
        return {**hub_row(pair), "audio": {"bytes": None, "path": name},
                "googleearth_image": {"bytes": None, "path": f"{pair.number}.jpg"}}  # fmt: skip

    write_parquet(root, {"train": 40}, row=row)
    result = build(root, tmp_path / "out", "--max-rejected", "0.2")
    assert result.returncode == 0, result.stderr
    manifest = Manifest.load(tmp_path / "out")
    rejected = {rejection.key: (rejection.reason, rejection.detail) for rejection in manifest.rejected}
    outside = {3, 5, 7}
    assert {key: reason for key, (reason, _) in rejected.items()} == {
        f"aporee-{number}": "sound outside the folder" if number in outside else "missing sound" for number in names
    }
    assert all("secret.mp3" in rejected[f"aporee-{number}"][1] for number in (3, 5))
    assert not (tmp_path / "out.unpacked").exists()
    assert (root / "1.jpg").is_file()  # what was unpacked were links or copies


def test_plain_binary_and_text_columns_without_the_hubs_types(tmp_path: Path) -> None:
    schema = pyarrow.schema([("id", pyarrow.int64()), ("tile", pyarrow.binary()), ("file_name", pyarrow.string()),
                             ("place", pyarrow.struct([("lat", pyarrow.float64()), ("lon", pyarrow.float64())])),
                             ("split", pyarrow.string())])  # fmt: skip
    root = tmp_path / "corpus"
    root.mkdir()

    def row(pair: MadePair) -> dict[str, Any]:
        (root / f"{pair.number}.flac").write_bytes(pair.sound)
        return {"id": pair.number, "tile": pair.image, "file_name": f"{pair.number}.flac",
                "place": {"lat": pair.latitude, "lon": pair.longitude},
                "split": "dev" if pair.number % 4 == 0 else "training"}  # fmt: skip

    write_parquet(root, {"part": 24}, row=row, schema=schema, sound="FLAC", card="")
    result = build(root, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "longitude from 'place.lon'" in result.stderr
    manifest = Manifest.load(tmp_path / "out")
    assert (manifest.splits, manifest.licence) == ({"train": 18, "val": 6}, "")


def test_a_killed_build_resumes_file_by_file(hub: Path, built: tuple[Path, str], tmp_path: Path) -> None:
    out, rows = tmp_path / "shards", tmp_path / "shards.unpacked" / "rows"
    words = command("build", "--source", "parquet", "--root", hub, "--out", out, "--workers", "1")
    process = subprocess.Popen(words, cwd=ROOT, env=started_alone(), start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    wait_until(lambda: len(list(rows.glob("*.jsonl"))) >= 2 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    result = build(hub, out)
    assert result.returncode == 0, result.stderr
    assert files_of(out) == files_of(built[0])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("data/train-00000-of-00001.parquet", b"PAR1 not really PAR1", "can't be read as Parquet"),
     ("notes.txt", b"", "has no Parquet files")],
)  # fmt: skip
def test_what_is_no_corpus_is_refused_in_a_sentence(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "corpus" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert words in error_of(build(tmp_path / "corpus", tmp_path / "out"))


def test_images_alone_are_refused(tmp_path: Path) -> None:
    schema = HUB_SCHEMA.remove(HUB_SCHEMA.get_field_index("audio")).remove_metadata()

    def row(pair: MadePair) -> dict[str, Any]:
        return {name: value for name, value in hub_row(pair).items() if name != "audio"}

    root = write_parquet(tmp_path / "corpus", {"train": 4}, row=row, schema=schema)
    assert "has no column of sounds; Earshot learns from pairs of both" in error_of(build(root, tmp_path / "out"))
