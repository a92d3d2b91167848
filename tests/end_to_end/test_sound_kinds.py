"""A corpus of many kinds of sound files: built by one command that counts what was unusual and keeps it per sample."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pair_folders import write_image
from shard_commands import run
from sound_writers import sndfile_bytes, tone, write_with_ffmpeg

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    (root / "audio").mkdir()
    generator = np.random.default_rng(0)
    noise = 0.1 * generator.standard_normal((4 * RATE_HZ, 4))
    files = {
        "10": ("memo.m4a", None),
        "11": ("inverted.wav", np.stack([noise[:, 0], -noise[:, 0]], axis=1)),
        "13": ("ambisonic.wav", noise),
        "14": ("integers.wav", noise[:, :1] * 32_768),
        "16": ("loud.wav", np.clip(noise[:, :1] * 30, -1, 1)),
        "18": ("joined.ogg", None),
        "20": ("plain.flac", noise[:, :2]),
        "21": ("cut.wav", noise[:, :2]),
        "17": ("plain.wav", noise[:, :1]),
        "12": ("memo.webm", None),
    }
    for name, samples in files.values():
        if samples is not None:
            soundfile.write(root / "audio" / name, samples, RATE_HZ, subtype=None if "flac" in name else "FLOAT")
    write_with_ffmpeg(root / "audio" / "memo.m4a", tone(4.0, 44_100), 44_100, "aac", "ipod")
    write_with_ffmpeg(root / "audio" / "memo.webm", tone(4.0, 48_000), 48_000, "libopus", "webm")
    (root / "audio" / "joined.ogg").write_bytes(sndfile_bytes(tone(4.0, RATE_HZ), RATE_HZ, "OGG") * 2)
    cut = root / "audio" / "cut.wav"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for key in files:
        write_image(root / "images" / f"{key}.png", (90, 90, 90), generator)
    rows = [[key, 7 + int(key) / 10, 50, name] for key, (name, _) in files.items()]
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["key", "longitude", "latitude", "mp3name"], *rows])
    return root


def build(root: Path, out: Path, *more: str) -> tuple[str, dict[str, dict[str, object]], dict[str, object]]:
    """What a build prints, the metadata of its samples by key, and its statistics."""
    fixed = ("--source", "recordings", "--root", root, "--out", out, "--split-by", "key", "--max-rejected", "0.1")
    result = run("build", *fixed, *more)
    assert result.returncode == 0, result.stderr
    metadata = {}
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, part = member.name.partition(".")
                if part == "json":
                    file = tar.extractfile(member)
                    assert file is not None
                    metadata[key] = json.loads(file.read())
    return result.stdout, metadata, json.loads((out / "manifest.json").read_text())["statistics"]


def test_what_is_unusual_is_counted_and_kept(corpus: Path, tmp_path: Path) -> None:
    printed, metadata, statistics = build(corpus, tmp_path / "shards")
    assert "1 clipped at full scale" in printed
    assert "1 with channels of opposite phase" in printed
    assert "1 of 4 or more channels" in printed
    assert "1 on the scale of integers" in printed
    assert {name: statistics[name] for name in ("opposite_phase", "one_of_many_channels", "integer_scale")} == {
        "opposite_phase": 1,
        "one_of_many_channels": 1,
        "integer_scale": 1,
    }
    assert 0 < statistics["clipped_share"] < 0.2
    assert metadata.keys() == {"10", "11", "12", "13", "14", "16", "17", "18", "20"}
    decoders = {key: str(values["decoder"]) for key, values in metadata.items()}
    assert decoders["10"] == "ffmpeg aac"
    assert decoders["12"] == "ffmpeg opus"
    assert decoders["20"] == "ffmpeg flac"
    assert {key: metadata[key]["channels"] for key in ("11", "13", "17", "20")} == {
        "11": "1 of 2, opposite phase",
        "13": "1 of 4",
        "17": "mono",
        "20": "mean of 2",
    }
    assert metadata["18"]["seconds"] == pytest.approx(8.0, abs=0.1)
    with (tmp_path / "shards" / "rejected.csv").open(newline="", encoding="utf-8") as file:
        (rejected,) = csv.DictReader(file)
    assert rejected["key"] == "21"
    assert "ends after 2.0 s of 4.0 s, which its header states" in rejected["detail"]
    described = run("info", tmp_path / "shards").stdout
    assert "1 with channels of opposite phase" in described


def test_channels_are_a_choice_that_is_recorded(corpus: Path, tmp_path: Path) -> None:
    _, metadata, _ = build(corpus, tmp_path / "shards", "--channels", "mean")
    assert metadata["13"]["channels"] == "mean of 4"
    assert json.loads((tmp_path / "shards" / "manifest.json").read_text())["build"]["channels"] == "mean"
    result = run("build", "--source", "recordings", "--root", corpus, "--out", tmp_path / "b", "--channels", "left")
    assert result.returncode == 2
    assert "--channels must be auto, mean or the number of a channel, counted from 1, got 'left'" in result.stderr
