"""From a corpus to the figures of a later protocol: its split, a build by that file, and published figures beside."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import torch
from commands import environment
from shard_commands import ROOT, run

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.demo_world.corpus import generate_demo_corpus
from shards.manifest import Manifest
from shards.streaming.reading import ShardSet


def retrieval(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "retrieval/run.py", *map(str, words)],
        cwd=ROOT, env=environment(), text=True, capture_output=True, timeout=300,
    )  # fmt: skip


def test_split_build_and_evaluate_by_a_later_protocol(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    generate_demo_corpus(corpus, num_places=60, image_size=96, clip_seconds=2.0, show_progress=False)
    table = corpus / "metadata.csv"
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns, rows = list(reader.fieldnames or ()), list(reader)
    for row in rows[:5]:
        row["mp3samplerate"] = "8000"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)

    result = retrieval("split", "--protocol", "geoclap", "--metadata", table, "--out", tmp_path / "split.csv")
    assert result.returncode == 0, result.stderr
    assert "5 of 60 rows are left out" in result.stdout
    out = tmp_path / "shards"
    arguments = ("--source", "recordings", "--root", corpus, "--out", out, "--split-file", tmp_path / "split.csv")
    for words in ("5 of 60 rows are not in split.csv and are left out", "already built"):
        built = run("build", *arguments)
        assert built.returncode == 0, built.stderr
        assert words in built.stdout + built.stderr
    manifest = Manifest.load(out)
    assert manifest.splits == {"train": 38, "val": 6, "test": 11}
    assert manifest.build["split_by"] == "file"
    with (tmp_path / "split.csv").open(newline="") as file:
        splits = {row["key"]: row["split"] for row in csv.DictReader(file)}
    shard_set = ShardSet.open(out)
    for split in manifest.splits:
        assert {sample.key for sample in shard_set.samples(split)} == {k for k, part in splits.items() if part == split}
    assert "by a file of keys" in run("info", out).stdout

    torch.manual_seed(0)
    TwoTower(TwoTowerConfig(embedding_dim=8, image_size=32, sound_pooling=4)).save_pretrained(tmp_path / "run/model")
    result = retrieval(
        "evaluate", "--weights", tmp_path / "run", "--shards", out, "--out", tmp_path / "report", "--crops", "1",
        "--protocol", "geoclap",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "has a split of its own" not in result.stderr
    assert "published, GeoCLAP, sound → image: Recall@100 45.00 %" in result.stdout
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    assert (metrics["protocol"], metrics["gallery_size"], metrics["published"]["gallery_size"]) == (
        "geoclap",
        11,
        10159,
    )
    page = (tmp_path / "report/report.html").read_text()
    assert "this gallery has 11 pairs and the published one 10,159" in page
