"""Temporary files: nobody else's name, held while their process lives, and swept up after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import environment

from shards import temporary_files
from shards.atomic_files import write_text_atomically
from shards.temporary_files import OTHER_MACHINES_SECONDS, Temporary, partial_path

HOLD = """
import sys
from pathlib import Path
from shards.temporary_files import Temporary
file, folder = Temporary(Path(sys.argv[1])), Temporary(Path(sys.argv[2]), is_folder=True)
(folder.path / "inside").write_text("half")
print("held", flush=True)
sys.stdin.read()
"""
"""Holds a temporary file and a folder until it is killed."""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is writing to the folder."""
    words = [sys.executable, "-c", HOLD, str(folder / "a"), str(folder / "b")]
    with subprocess.Popen(words, env=environment(), stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has not yet looked into any folder."""
    monkeypatch.setattr("shards.temporary_files._swept", set())


def test_what_a_killed_process_leaves_is_swept_up_by_the_next_one_that_writes_there(tmp_path: Path) -> None:
    (tmp_path / ".mine.partial").touch()
    (tmp_path / ".step-00000004.partial").mkdir()
    with another_process(tmp_path):
        assert len(os.listdir(tmp_path)) == 4
    write_text_atomically(tmp_path / "c", "x")
    assert sorted(os.listdir(tmp_path)) == [".mine.partial", ".step-00000004.partial", "c"]


def test_what_a_living_process_is_writing_stays(tmp_path: Path) -> None:
    with another_process(tmp_path):
        write_text_atomically(tmp_path / "c", "x")
        assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_begun_while_another_sweeps_stays(tmp_path: Path, is_folder: bool) -> None:
    is_over = threading.Event()

    def sweep() -> None:
        while not is_over.is_set():
            temporary_files._swept.clear()
            temporary_files._sweep(tmp_path)

    with ThreadPoolExecutor(2) as pool:
        sweepers = [pool.submit(sweep) for _ in range(2)]
        try:
            for number in range(300):
                temporary = Temporary(tmp_path / str(number), is_folder=is_folder)
                time.sleep(0.001)
                temporary.keep()
        finally:
            is_over.set()
        assert all(sweeper.exception() is None for sweeper in sweepers)
    assert len(os.listdir(tmp_path)) == 300


def test_what_another_machine_writes_stays_until_it_was_left_alone_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("shards.temporary_files._machine", lambda: "0123abcd")
        fresh, old = partial_path(tmp_path / "fresh"), partial_path(tmp_path / "old")
    for path in (fresh, old):
        path.touch()
    long_ago = path.stat().st_mtime - OTHER_MACHINES_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    write_text_atomically(tmp_path / "c", "x")
    assert sorted(os.listdir(tmp_path)) == sorted((fresh.name, "c"))


def test_names_differ_each_time_whatever_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)  # as in two containers
    names = {partial_path(tmp_path / "m.json").name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith(".m.json.") and name.endswith(".partial") for name in names)


def test_it_becomes_the_file_or_goes(tmp_path: Path) -> None:
    kept, discarded = Temporary(tmp_path / "kept"), Temporary(tmp_path / "discarded", is_folder=True)
    kept.path.write_text("content")
    (discarded.path / "inside").touch()
    kept.keep()
    discarded.discard()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "content"}
