"""A build that is killed, stopped or finds the disk full: it ends cleanly, resumes, and ends in the same bytes."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS
from processes import processes_with
from shard_commands import build_arguments, command, error_of, files_of, run, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def begun(small_corpus: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[str], Path, str]]:
    """A build that has finished two of its nine shards: process, arguments, folder, a mark of its processes."""
    out, mark = tmp_path / "set", f"BUILD_UNDER_TEST={tmp_path}"
    arguments = build_arguments(small_corpus, out, "--workers", "2")
    process = subprocess.Popen(
        command("build", *arguments),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "BUILD_UNDER_TEST": str(tmp_path)},
        # A shell that runs the tests in the background has them ignore Ctrl-C, and what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: len(list(out.glob(".build/*.tar.json"))) >= 2 or process.poll() is not None)
        yield process, arguments, out, mark
    finally:
        process.kill()
        process.communicate()


def test_a_killed_build_goes_on_and_ends_in_the_same_bytes(
    begun: tuple[subprocess.Popen[str], list[str], Path, str], small_shards: Path
) -> None:
    process, arguments, out, mark = begun
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    # Its workers end with it, and don't write into what the next build writes.
    wait_until(lambda: not processes_with(mark))
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    (out / ".train-000000.tar.1.partial").write_bytes(b"half")
    result = run("build", *arguments)
    assert result.returncode == 0, result.stderr
    assert "resuming: " in result.stdout
    assert files_of(out) == files_of(small_shards)
    kept = [name for name, time_ns in finished.items() if (out / name).stat().st_mtime_ns == time_ns]
    assert len(kept) >= 2


def test_ctrl_c_ends_a_build_with_a_word_and_without_remains(
    begun: tuple[subprocess.Popen[str], list[str], Path, str],
) -> None:
    process, _, out, mark = begun
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped by the user"
    assert "Traceback" not in errors
    assert not processes_with(mark)
    assert not list(out.rglob("*.partial"))


def test_a_signal_to_all_its_processes_ends_a_build_that_goes_on_later(
    begun: tuple[subprocess.Popen[str], list[str], Path, str], small_shards: Path
) -> None:
    process, arguments, out, mark = begun
    # As a launcher or a scheduler ends a whole group: the workers die of what the build itself ends on cleanly.
    workers = [number for number, line in processes_with(mark).items() if "spawn_main" in line]
    for number in (process.pid, *workers):
        os.kill(number, signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.splitlines()[-1] == "stopped by SIGTERM; finished work is kept"
    assert "Traceback" not in errors
    wait_until(lambda: not processes_with(mark))
    assert run("build", *arguments).returncode == 0
    assert files_of(out) == files_of(small_shards)


def test_a_worker_that_dies_is_one_sentence_with_the_keys_it_read(
    begun: tuple[subprocess.Popen[str], list[str], Path, str],
) -> None:
    process, _, out, mark = begun
    worker = next(number for number, line in processes_with(mark).items() if "spawn_main" in line)
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2
    assert re.search(r"error: a worker process died: .*\(keys being read: 1\d\d", errors), errors
    assert not (out / "manifest.json").exists()


def test_a_full_disk_is_one_sentence_and_loses_no_shard(small_corpus: Path, small_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    arguments = build_arguments(small_corpus, out, "--workers", "1")
    largest = max(path.stat().st_size for path in small_shards.glob("*.tar"))
    limited = subprocess.run(
        command("build", *arguments),
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, largest - 1)),
    )
    assert "can't write to --out" in error_of(limited)
    assert not list(out.rglob("*.partial"))
    assert not (out / "manifest.json").exists()
    assert run("build", *arguments).returncode == 0
    assert files_of(out) == files_of(small_shards)
