"""`verify` finds each fault of a shard set, and `info` tells what is in it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from index_files import change_records, index_of
from shard_commands import error_of, run

from shards.building.describing import describe_shards
from shards.building.verifying import print_verification, verify_shards
from shards.manifest import Manifest


@pytest.fixture
def copied_shards(small_shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_shards, tmp_path / "copied"))


def test_verify_passes_what_was_built(small_shards: Path) -> None:
    result = run("verify", small_shards)
    assert result.returncode == 0, result.stdout
    assert "9 of 9 shards are intact, with 40 samples, 40 listening clips" in result.stdout


def flip_byte(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def change_count(folder: Path) -> None:
    record = json.loads((folder / "manifest.json").read_text())
    record["shards"][0]["num_samples"] += 1
    record["splits"]["train"]["num_samples"] += 1
    (folder / "manifest.json").write_text(json.dumps(record))


def change_total(folder: Path, old: str, new: str) -> None:
    text = (folder / "manifest.json").read_text()
    assert text.count(old) == 1
    (folder / "manifest.json").write_text(text.replace(old, new))


def swap_index(folder: Path) -> None:
    manifest = Manifest.load(folder)
    entries = {entry.name: entry for entry in manifest.shards}
    name = "test-000000.tar"
    entries[name] = change_records(folder, entries[name], lambda records: records["num_frames"].__iadd__(100))
    dataclasses.replace(manifest, shards=tuple(entries.values())).save(folder)


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "flipped byte": (lambda folder: flip_byte(folder / "train-000001.tar", 9000), "train-000001.tar", "checksum"),
    "missing shard": (lambda folder: (folder / "val-000000.tar").unlink(), "val-000000.tar", "file is missing"),
    "wrong count": (change_count, "train-000000.tar", "holds 5 samples, the manifest says 6"),
    "wrong total of a split": (
        lambda folder: change_total(folder, '"num_samples": 28', '"num_samples": 29'),
        "manifest.json",
        'splits is {"train": {"num_samples": 29}, "val": {"num_samples": 4}, "test": {"num_samples": 8}}, but',
    ),
    "wrong number of rejected pairs": (
        lambda folder: change_total(folder, '"num_rejected": 4', '"num_rejected": 0'),
        "manifest.json",
        "num_rejected is 0, but the entries add up to 4",
    ),
    "truncated tar": (
        lambda folder: os.truncate(folder / "train-000002.tar", 30_000),
        "train-000002.tar",
        "30,000 bytes",
    ),
    "extra shard": (
        lambda folder: shutil.copyfile(folder / "val-000000.tar", folder / "val-000001.tar"),
        "val-000001.tar",
        "not in the manifest",
    ),
    "missing index": (
        lambda folder: index_of(folder / "test-000000.tar").unlink(),
        "test-000000.tar",
        "has no index",
    ),
    "wrong index": (swap_index, "test-000000.tar", "index does not match"),
    "flipped byte in a clip": (
        lambda folder: flip_byte(folder / "previews" / "val-000000.tar", 3000),
        "previews/val-000000.tar",
        "checksum",
    ),
    "missing clips": (
        lambda folder: (folder / "previews" / "val-000000.tar").unlink(),
        "previews/val-000000.tar",
        "file is missing",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_verify_finds_each_fault(copied_shards: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    damage, shard, sentence = FAULTS[name]
    damage(copied_shards)
    verification = verify_shards(copied_shards, show_progress=False)
    assert {fault.shard for fault in verification.faults} == {shard}
    assert sentence in " ".join(fault.sentence for fault in verification.faults)
    print_verification(copied_shards, verification)
    assert f"{shard}: " in capsys.readouterr().out


def test_a_sample_that_can_not_be_used_is_told_in_words(copied_shards: Path) -> None:
    path = copied_shards / "train-000000.tar"
    path.write_bytes(path.read_bytes().replace(b'"latitude": 10.0', b'"latitude": 99.0'))
    sentences = " ".join(fault.sentence for fault in verify_shards(copied_shards, show_progress=False).faults)
    assert re.search(r"sample 1\d\d can't be decoded: its longitude and latitude must be numbers within", sentences)


def test_verify_exits_with_1_on_a_fault_and_with_2_on_no_shard_set(copied_shards: Path, tmp_path: Path) -> None:
    flip_byte(copied_shards / "train-000001.tar", 9000)
    result = run("verify", copied_shards)
    assert result.returncode == 1
    assert "8 of 9 shards are intact" in result.stdout
    assert "no such folder" in error_of(run("verify", tmp_path / "none"))


def test_info_tells_what_is_in_a_set(small_shards: Path) -> None:
    result = run("info", small_shards)
    assert result.returncode == 0, result.stderr
    for words in ("train 28, val 4, test 8", "by the last digit of the key", "missing image 1", "log-mel -28"):
        assert words in result.stdout
    described = describe_shards(small_shards)
    assert json.loads(json.dumps(described)) == described
    assert re.search(r"^extent       longitude \S+° to \S+°, latitude \S+° to \S+°$", result.stdout, re.MULTILINE)
    # Keys 100 (training) and 102 (test) share a place; the others are 100 km apart.
    assert described["test_pairs_near_training"] == {"within_0_m": 1, "within_100_m": 1, "within_1000_m": 1}
    tars = sum(path.stat().st_size for path in small_shards.glob("*.tar"))
    assert described["bytes"] == tars
