"""Files as recorders really leave them: each row of the table is used or rejected with its reason, none is lost."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import webdataset
from commands import PATIENCE_SECONDS

from shards.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def awkward_corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The awkward files, each paired with a real image, as a corpus of recordings."""
    root = tmp_path_factory.mktemp("awkward")
    (root / "images").mkdir()
    (root / "audio").symlink_to(real_data / "awkward_audio")
    images = sorted((real_data / "soundscapes" / "images").glob("*.jpg"))
    rows = []
    for number, sound in enumerate(sorted((real_data / "awkward_audio").iterdir())):
        shutil.copyfile(images[number], root / "images" / f"{number}.jpg")
        rows.append((number, number * 3 - 30, number, sound.name))
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("key", "longitude", "latitude", "mp3name"), *rows])
    return root


def run_build(root: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "shards/run.py",
        "build",
        "--source",
        "recordings",
        "--root",
        str(root),
        *more,
        "--follow-links",
    ]
    return subprocess.run(
        [*command, "--follow-links", "--out", str(out)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )


def read_rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return {row["key"]: row["reason"] for row in csv.DictReader(file)}


def test_every_row_is_used_or_rejected(awkward_corpus: Path, tmp_path: Path) -> None:
    sounds = {str(number): path for number, path in enumerate(sorted((awkward_corpus / "audio").iterdir()))}
    assert len(sounds) == 24
    out = tmp_path / "shards"

    # With the default share the build stops after writing the list of rejects …
    stopped = run_build(awkward_corpus, out)
    assert stopped.returncode == 2
    assert stopped.stderr.splitlines()[-1].startswith("error: 1"), stopped.stderr
    assert "of 24 pairs are rejected" in stopped.stderr
    assert "undecodable sound (10)" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not (out / "manifest.json").exists()
    listed = read_rejected(out)

    # … and with a larger share it continues to the end without reading anything twice.
    finished = run_build(awkward_corpus, out, "--max-rejected", "0.6")
    assert finished.returncode == 0, finished.stderr
    assert "24 pairs listed" in finished.stdout
    manifest = Manifest.load(out)
    rejected = {rejection.key: rejection for rejection in manifest.rejected}
    assert {key: rejection.reason for key, rejection in rejected.items()} == listed == read_rejected(out)
    used = {
        sample["__key__"]
        for tar in out.glob("*.tar")
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
    }
    assert used | set(rejected) == set(sounds)
    assert not used & set(rejected)
    assert len(used) == sum(manifest.splits.values())

    reason_of_sound = {path.name: rejected[key].reason for key, path in sounds.items() if key in rejected}
    undecodable = {path.name for path in sounds.values() if "undecodable" in path.name}
    assert {name for name, reason in reason_of_sound.items() if reason == "undecodable sound"} == undecodable
    too_short = {name for name, reason in reason_of_sound.items() if reason == "sound too short"}
    assert too_short == set(reason_of_sound) - undecodable == {"00_odd.wav", "02_odd.wav"}
    assert all(rejection.detail for rejection in rejected.values())
