"""A finished set that has lost shards since: the same command packs these again, byte for byte, or says why not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from index_files import index_of, to_version_1
from shard_commands import files_of

from shards.building.build import build
from shards.building.planning import BuildOptions
from shards.building.verifying import verify_shards
from shards.errors import UserError
from shards.manifest import Manifest


@pytest.fixture
def copied_shards(small_shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_shards, tmp_path / "copied"))


def options_for(root: Path, out: Path) -> BuildOptions:
    return BuildOptions("recordings", out, root, workers=1, max_rejected=0.1, samples_per_shard=5)


def test_lost_shards_are_named_and_packed_again(
    small_corpus: Path, small_shards: Path, copied_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied_shards / "val-000000.tar").unlink()
    os.truncate(copied_shards / "train-000002.tar", 30_000)
    index_of(copied_shards / "test-000000.tar").unlink()
    manifest = build(options_for(small_corpus, copied_shards))
    printed = capsys.readouterr().out
    assert "train-000002.tar has 30,000 bytes instead of " in printed
    assert "val-000000.tar is missing" in printed
    assert "test-000000.tar has no index" in printed
    assert "3 of its shards repacked" in printed
    assert sum(manifest.splits.values()) == 40
    assert files_of(copied_shards) == files_of(small_shards)
    build(options_for(small_corpus, copied_shards))
    assert "nothing to do" in capsys.readouterr().out


def test_lost_shards_of_a_set_of_version_1_are_packed_again(
    small_corpus: Path, small_shards: Path, copied_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_version_1(copied_shards)
    (copied_shards / "val-000000.tar").unlink()
    manifest = build(options_for(small_corpus, copied_shards))
    assert "1 of its shards repacked" in capsys.readouterr().out
    assert [entry.name for entry in manifest.shards if entry.index] == ["val-000000.tar"]
    assert manifest == Manifest.load(copied_shards)
    assert verify_shards(copied_shards, show_progress=False).faults == ()
    assert (copied_shards / "val-000000.tar").read_bytes() == (small_shards / "val-000000.tar").read_bytes()


def test_clips_that_were_removed_stay_away(small_corpus: Path, small_shards: Path, copied_shards: Path) -> None:
    shutil.rmtree(copied_shards / "previews")
    (copied_shards / "val-000000.tar").unlink()
    build(options_for(small_corpus, copied_shards))
    assert not (copied_shards / "previews").exists()
    assert (copied_shards / "val-000000.tar").read_bytes() == (small_shards / "val-000000.tar").read_bytes()


def test_a_shard_that_comes_out_otherwise_is_refused(small_corpus: Path, copied_shards: Path) -> None:
    record = json.loads((copied_shards / "manifest.json").read_text())
    record["shards"][0]["sha256"] = "0" * 64
    (copied_shards / "manifest.json").write_text(json.dumps(record))
    (copied_shards / "train-000000.tar").unlink()
    with pytest.raises(UserError, match=r"train-000000\.tar was repacked and differs from"):
        build(options_for(small_corpus, copied_shards))
    # It isn't taken for the lost one the next time.
    assert not (copied_shards / "train-000000.tar").exists()
