"""A user's mistakes in a build: each is one sentence, and nothing that stands is touched."""

from __future__ import annotations

import csv
import fcntl
import re
import resource
import shutil
import subprocess
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import PATIENCE_SECONDS
from shard_commands import build_arguments, command, error_of, files_of, run

from shards.building import build as building
from shards.building.build import build
from shards.building.planning import BuildOptions, idle_options
from shards.demo_world import corpus
from shards.errors import UserError
from shards.manifest import Manifest
from shards.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copied_shards(small_shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_shards, tmp_path / "copied"))


def options_for(root: Path, out: Path, **more: Any) -> BuildOptions:
    """The same options as `build_arguments`, for builds in this process."""
    return BuildOptions(
        **{"source": "recordings", "root": root, "out": out, "max_rejected": 0.1, "samples_per_shard": 5, **more}
    )


def test_a_finished_build_is_reused_and_another_refused(small_corpus: Path, copied_shards: Path) -> None:
    before = files_of(copied_shards)
    again = run("build", *build_arguments(small_corpus, copied_shards, "--workers", "2"))
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    with pytest.raises(UserError, match="was built with other options: split_by was 'key' and is 'random'"):
        build(options_for(small_corpus, copied_shards, split_by="random"))
    assert files_of(copied_shards) == before


def test_a_changed_corpus_is_noticed(small_corpus: Path, copied_shards: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(small_corpus, tmp_path / "changed"))
    # Where the corpus lies makes no difference, what is in it does.
    assert build(options_for(changed, copied_shards)) == Manifest.load(copied_shards)
    shutil.copyfile(changed / "audio" / "141.flac", changed / "audio" / "100.flac")
    with pytest.raises(UserError, match="the corpus has changed"):
        build(options_for(changed, copied_shards))


def test_too_many_rejects_fail_after_they_are_listed(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    sentence = error_of(run("build", *build_arguments(small_corpus, out, "--max-rejected", "0.05")))
    assert "4 of 44 pairs are rejected (9.1%), above --max-rejected 0.05" in sentence
    with (out / "rejected.csv").open(newline="") as file:
        listed = {row["key"] for row in csv.DictReader(file)}
    assert listed == {"140", "141", "142", "143"}
    assert not (out / "manifest.json").exists()


def test_a_failed_build_may_be_tried_again_with_other_options(
    small_corpus: Path, small_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    with pytest.raises(UserError, match="4 of 44 pairs are rejected"):
        build(options_for(small_corpus, out, max_rejected=0.05, jpeg_quality=80, samples_per_shard=3))
    build(options_for(small_corpus, out))
    assert "an earlier build with other options failed there; this one starts over" in capsys.readouterr().out
    assert files_of(out) == files_of(small_shards)


def test_an_interrupted_build_is_not_mixed_with_another(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    with pytest.raises(UserError, match="4 of 44 pairs are rejected"):
        build(options_for(small_corpus, out, max_rejected=0.05))
    (out / ".build" / "failed").unlink()
    with pytest.raises(UserError, match="was started with other options: jpeg_quality was 90 and is 80"):
        build(options_for(small_corpus, out, jpeg_quality=80))


def test_missing_files_fail_before_any_sound_is_read(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    with pytest.raises(UserError, match="2 of 44 pairs are rejected"):
        build(options_for(small_corpus, out, max_rejected=0.02))
    assert [path.name for path in out.iterdir()] == ["rejected.csv"]
    # The list of what was rejected does not stand in the way of the next attempt.
    build(options_for(small_corpus, out))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"source": "recording"}, "did you mean 'recordings'"),
        ({"root": None}, "needs --root"),
        ({"root": Path("/nowhere")}, "no such folder"),
        ({"source": "soundingearth"}, "spectrograms can't be listed"),
        ({"workers": 0}, "--workers must be >= 1, got 0"),
        ({"cell_km": float("nan")}, "--cell-km must be > 0, got nan"),
        ({"max_rejected": 5.0}, "--max-rejected must be within"),
        ({"max_seconds": 0.0}, "--max-seconds must be >= 1"),
        ({"jpeg_quality": 101}, "--jpeg-quality must be within"),
        ({"samples_per_shard": 0}, "--samples-per-shard must be >= 1"),
        ({"limit": 0}, "--limit must be >= 1"),
        ({"bands": (0, 1, 2)}, "--bands must be >= 1"),
        ({"column": (("scene",),)}, "has no effect"),
        ({"split_by": "column"}, "needs --column"),
        ({"split_by": "column", "column": (("place",),)}, "no such column; choose one of: key, longitude"),
        ({"split_by": "column", "column": (("scene", "place"),)}, "names two columns to split by"),
        ({"column": (("sond=mp3name",),)}, "unknown role 'sond'; did you mean 'sound'"),
        ({"column": (("key=Site",),)}, "--column key=Site: "),
        ({"table": Path("sites.csv")}, "--table sites.csv: no such file"),
    ],
)
def test_a_mistake_is_one_sentence(small_corpus: Path, tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        build(options_for(**{"root": small_corpus, "out": tmp_path / "set", **more}))
    assert not list(tmp_path.rglob("*.tar"))


def test_a_mistake_on_the_command_line_is_one_sentence(small_corpus: Path, tmp_path: Path) -> None:
    assert "got 0" in error_of(run("build", *build_arguments(small_corpus, tmp_path / "set", "--workers", "0")))


def test_options_without_effect_are_warned_of_and_nothing_else() -> None:
    def warnings(source: str, **more: Any) -> list[str]:
        return idle_options(BuildOptions(source, Path("out"), **more), SOURCES[source])

    idle: dict[str, Any] = {"cell_km": 5.0, "places": 9, "seed": 2, "max_seconds": 30.0, "previews": False}
    assert warnings("recordings") == warnings("soundingearth") == warnings("demo") == []
    assert warnings("demo", **{**idle, "split_by": "cell"}) == []
    assert warnings("recordings", **idle) == [
        "--cell-km 5.0 has no effect with --split-by key; give --split-by cell",
        "--places 9 has no effect with --source recordings",
        "--seed 2 has no effect with --source recordings",
    ]
    assert warnings("soundingearth", **idle)[3:] == [
        "--max-seconds 30.0 has no effect with --source soundingearth, which has no recordings",
        "--no-previews has no effect with --source soundingearth, which has no recordings",
    ]


def test_no_speed_of_decoding_is_told_where_no_sound_was_decoded(tmp_path: Path) -> None:
    root = tmp_path / "root"
    rows = ["key,longitude,latitude,mp3seconds"]
    for folder in ("images", "spectrograms"):
        (root / folder).mkdir(parents=True)
    for key in range(10):
        grey = np.random.default_rng(key).integers(0, 256, (128, 200), dtype=np.uint8)
        cv2.imwrite(str(root / "images" / f"{key}.jpg"), np.stack([grey] * 3, axis=-1))
        cv2.imwrite(str(root / "spectrograms" / f"{key}.jpg"), grey)
        rows.append(f"{key},0,{key},3600")
    (root / "metadata.csv").write_text("\n".join(rows))
    out = tmp_path / "set"
    result = run("build", "--source", "soundingearth", "--root", root, "--out", out, "--max-seconds", "30")
    assert result.returncode == 0, result.stderr
    assert "10.00 hours of sound" in result.stdout
    assert "real time" not in result.stdout
    assert "hours of sound per hour" not in result.stderr
    assert [line for line in result.stderr.splitlines() if "warning" in line] == [
        "warning: --max-seconds 30.0 has no effect with --source soundingearth, which has no recordings"
    ]


def test_a_demo_corpus_that_can_not_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = tmp_path / "world", tmp_path / "set"
    arguments = ["--source", "demo", "--root", root, "--places", "4", "--out", out, "--workers", "2"]
    limited = subprocess.run(
        command("build", *arguments),
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert f"can't write the demo corpus to --root {root}: File too large" in error_of(limited)
    assert not root.exists()

    def lose_a_worker(*_: object, **__: object) -> None:
        raise BrokenProcessPool

    with monkeypatch.context() as patched:
        patched.setattr(corpus, "generate_demo_corpus", lose_a_worker)
        with pytest.raises(UserError, match=r"a worker process was killed; .* fewer --workers"):
            build(BuildOptions("demo", out, root, places=4))
    # What was written before is kept.
    assert run("build", *arguments).returncode == 0


def test_a_mistyped_option_gets_a_suggestion() -> None:
    result = run("build", "--source", "demo", "--out", "x", "--max-reject", "0.1")
    assert result.returncode == 2
    assert "--max-rejected" in result.stderr


def test_keys_that_are_no_numbers_are_split_at_random_unless_the_split_by_key_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    for name in ("images/a.jpg", "audio/a.wav"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    (root / "metadata.csv").write_text("key,longitude,latitude\na,0,0\n")
    with pytest.raises(UserError, match="key 'a' is not a number; give --split-by random"):
        build(options_for(root, tmp_path / "set", split_by="key"))
    with pytest.raises(UserError, match="1 of 1 pairs are rejected"):
        build(options_for(root, tmp_path / "set"))
    assert "note: splits are drawn at random, because keys are not numbers" in capsys.readouterr().err


def test_a_folder_with_other_things_is_left_alone(small_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and is no shard set"):
        build(options_for(small_corpus, tmp_path))
    with pytest.raises(UserError, match="is a file"):
        build(options_for(small_corpus, tmp_path / "thesis.txt"))
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.txt"]


def test_two_builds_do_not_write_into_one_folder(small_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / ".build").mkdir(parents=True)
    with (tmp_path / "set" / ".build" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another build is writing"):
            build(options_for(small_corpus, tmp_path / "set"))


def test_a_disk_that_is_too_small_is_told_before_the_build(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "PROBE_ABOVE_PAIRS", 20)
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"has 0\.1 MB free and the shards need about [1-9]\.\d MB"):
        build(options_for(small_corpus, tmp_path / "set", workers=1))
    assert "estimate from 8 pairs: 42 pairs with 0.0 hours of sound take about" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tar"))
