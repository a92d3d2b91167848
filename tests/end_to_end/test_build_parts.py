"""A build in parts, by several processes of any machines: in the end the same bytes as by one, and nothing is lost."""

from __future__ import annotations

import errno
import fcntl
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import PATIENCE_SECONDS
from shard_commands import (
    ROOT,
    build_arguments,
    command,
    error_of,
    files_of,
    run,
    started_alone,
    wait_until,
)

from shards.building import build as building
from shards.building.build import build
from shards.building.folder import clear_partial_files
from shards.building.parts import Part
from shards.building.planning import BuildOptions, ShardPlan
from shards.errors import UserError
from shards.manifest import Manifest
from shards.temporary_files import partial_path


def options_for(root: Path, out: Path, **more: Any) -> BuildOptions:
    """The same options as `build_arguments`, for builds in this process."""
    fixed = {"source": "recordings", "workers": 1, "max_rejected": 0.1, "samples_per_shard": 5}
    return BuildOptions(**{**fixed, "root": root, "out": out, **more})


def start(*arguments: str | Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("build", *arguments),
        cwd=ROOT,
        env=started_alone() | more,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_parts_in_any_order_and_number_make_the_same_bytes(
    small_corpus: Path, small_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert build(options_for(small_corpus, out, part="3/3")) is None
    # The train shards are the first six, val the seventh, test the last two: part 3 has a shard of test.
    assert sorted(path.name for path in out.glob("*.tar")) == [
        "test-000001.tar",
        "train-000002.tar",
        "train-000005.tar",
    ]
    assert "part 3 of 3 is finished; 6 of 9 shards are missing" in capfd.readouterr().out
    assert build(options_for(small_corpus, out, part="1/3")) is None
    sentence = error_of(run("build", *build_arguments(small_corpus, out, "--part", "finish")))
    assert "3 of 9 shards are missing (train-000001.tar, train-000004.tar, test-000000.tar) of part 2 of 3" in sentence
    assert not (out / "manifest.json").exists()
    last = run("build", *build_arguments(small_corpus, out, "--part", "2/3"))
    assert last.returncode == 0, last.stderr
    assert "part 2 of 3: building shards: 15/15" in last.stderr
    assert "4 rejected: " in last.stdout
    assert files_of(out) == files_of(small_shards)
    # A part that is started again finds the set finished.
    assert build(options_for(small_corpus, out, part="1/3")) == Manifest.load(small_shards)
    assert files_of(out) == files_of(small_shards)


def test_a_part_beyond_the_shards_has_no_work(
    small_corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert build(options_for(small_corpus, tmp_path / "set", part="10/10")) is None
    assert "part 10 of 10 is finished; 9 of 9 shards are missing" in capfd.readouterr().out
    assert not list(tmp_path.rglob("*.tar"))


def test_a_part_that_is_killed_goes_on(small_corpus: Path, small_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    first = start(*build_arguments(small_corpus, out, "--workers", "1", "--part", "1/2"))
    second = start(*build_arguments(small_corpus, out, "--workers", "1", "--part", "2/2"))
    mine = out / ".build" / "train-000000.tar.json"
    wait_until(lambda: mine.exists() or first.poll() is not None)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    first.communicate()
    output, errors = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0, errors
    assert not (out / "manifest.json").exists()
    assert re.search(r"part 2 of 2 is finished; \d of 9 shards are missing .* of part 1 of 2", output)
    finished_ns = (out / "train-000000.tar").stat().st_mtime_ns
    again = run("build", *build_arguments(small_corpus, out, "--workers", "1", "--part", "1/2"))
    assert again.returncode == 0, again.stderr
    assert re.search(r"part 1 of 2: resuming: \d of 5 shards are finished", again.stdout)
    assert files_of(out) == files_of(small_shards)
    assert (out / "train-000000.tar").stat().st_mtime_ns == finished_ns


def test_a_part_leaves_alone_what_another_is_writing(tmp_path: Path) -> None:
    (tmp_path / "previews").mkdir()
    mine = ["train-000001.tar", "train-000001.index.npy", "previews/train-000001.tar"]
    others = ["train-000002.tar", "train-000002.index.npy", "train-000010.tar", "manifest.json"]
    partial = {name: partial_path(tmp_path / name) for name in (*mine, *others)}
    for path in partial.values():
        path.touch()
    clear_partial_files(tmp_path, [ShardPlan("train-000001.tar", "train", ())])
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {partial[name] for name in others}
    clear_partial_files(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_other_options_and_other_numbers_of_parts_are_refused(
    small_corpus: Path, small_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    with pytest.raises(UserError, match="no build was started there"):
        build(options_for(small_corpus, out, part="finish"))
    build(options_for(small_corpus, out, part="1/3"))
    before = files_of(out)
    for part in ("2/3", "all", "finish"):
        with pytest.raises(UserError, match="was started with other options: jpeg_quality was 90 and is 80"):
            build(options_for(small_corpus, out, part=part, jpeg_quality=80))
    with pytest.raises(UserError, match="was started with 3 parts, not 2; start parts K/3, or continue with a"):
        build(options_for(small_corpus, out, part="2/2"))
    locks = {".build/lock", *(f".build/part-{number}.lock" for number in (1, 2, 3))}
    assert {name: data for name, data in files_of(out).items() if name not in locks} == {
        name: data for name, data in before.items() if name not in locks
    }
    # One process continues with all that is missing.
    build(options_for(small_corpus, out, part="all"))
    assert files_of(out) == files_of(small_shards)


def test_a_part_is_built_once_at_a_time_and_beside_no_whole_build(small_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    (out / ".build").mkdir(parents=True)
    with (out / ".build" / "lock").open("w") as whole:
        fcntl.flock(whole, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another build is writing"):
            build(options_for(small_corpus, out, part="1/2"))
    with (out / ".build" / "lock").open("w") as folder, (out / ".build" / "part-1.lock").open("w") as part:
        fcntl.flock(folder, fcntl.LOCK_SH)
        fcntl.flock(part, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="another process is building part 1 of 2 in"):
            build(options_for(small_corpus, out, part="1/2"))
        with pytest.raises(UserError, match="another build is writing"):
            build(options_for(small_corpus, out))
        assert build(options_for(small_corpus, out, part="2/2")) is None


def test_a_file_system_without_locks_is_warned_of(
    small_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    manifest = build(options_for(small_corpus, tmp_path / "set", part="1/1", limit=8))
    assert manifest is not None
    assert manifest.splits == {"train": 5, "val": 1, "test": 2}
    assert "is on a file system without locks" in capfd.readouterr().err


def test_too_many_rejects_are_told_by_the_last_and_the_set_finished_by_several_at_once(
    small_corpus: Path, small_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    assert build(options_for(small_corpus, out, part="1/2", max_rejected=0.05)) is None
    assert not (out / "rejected.csv").exists()
    with pytest.raises(UserError, match=r"4 of 44 pairs are rejected \(9\.1%\), above"):
        build(options_for(small_corpus, out, part="2/2", max_rejected=0.05))
    assert (out / "rejected.csv").read_bytes() == (small_shards / "rejected.csv").read_bytes()
    finishers = [start(*build_arguments(small_corpus, out, "--part", "finish")) for _ in range(4)]
    for finisher in finishers:
        output, errors = finisher.communicate(timeout=PATIENCE_SECONDS)
        assert finisher.returncode == 0, errors
        assert "44 pairs listed, 40 used" in output
    assert files_of(out) == files_of(small_shards)


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "cleared by another"), UserError("in its way")])
def test_a_part_that_is_overtaken_by_another_finds_the_set_finished(
    small_corpus: Path, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    out = tmp_path / "set"

    def let_another_finish(*_: object) -> None:
        shutil.copytree(small_shards, out, dirs_exist_ok=True)
        shutil.rmtree(out / ".build")
        raise error

    monkeypatch.setattr(building, "_pack", let_another_finish)
    assert build(options_for(small_corpus, out, part="1/2")) == Manifest.load(small_shards)
    assert files_of(out) == files_of(small_shards)


def test_a_part_that_begins_as_the_set_is_finished_packs_nothing(
    small_corpus: Path, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"

    def let_another_finish(part: Part | None, out: Path) -> None:
        shutil.copytree(small_shards, out, dirs_exist_ok=True)

    monkeypatch.setattr(building, "keep_part_count", let_another_finish)
    monkeypatch.setattr(building, "PackingPool", None)
    assert build(options_for(small_corpus, out, part="1/2")) == Manifest.load(small_shards)
    assert files_of(out) == files_of(small_shards)


def test_lost_shards_are_left_to_one_process(small_corpus: Path, small_shards: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small_shards, tmp_path / "set"))
    (out / "val-000000.tar").unlink()
    for part in ("1/2", "finish"):
        with pytest.raises(UserError, match=r"val-000000\.tar is missing; give --part all"):
            build(options_for(small_corpus, out, part=part))
    build(options_for(small_corpus, out, part="all"))
    assert files_of(out) == files_of(small_shards)


def test_parts_that_begin_together_generate_the_demo_once(tmp_path: Path) -> None:
    arguments = ["--source", "demo", "--root", tmp_path / "world", "--places", "12", "--workers", "1"]
    arguments += ["--samples-per-shard", "4", "--out", tmp_path / "set"]
    parts = [start(*arguments, "--part", f"{number}/2") for number in (1, 2)]
    errors = [part.communicate(timeout=PATIENCE_SECONDS)[1] for part in parts]
    assert [part.returncode for part in parts] == [0, 0], errors
    assert sum("generating the demo corpus" in text for text in errors) == 1, errors
    assert sum(Manifest.load(tmp_path / "set").splits.values()) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "world"]
