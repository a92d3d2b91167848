"""Children end with their parent, also those that were still starting when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS, environment

SCRIPT = """
import multiprocessing, os, sys, time
from shards.child_processes import end_with_parent

def child(path, seconds):
    open(path, "w").write(str(os.getpid()))
    time.sleep(seconds)
    end_with_parent()
    time.sleep(10_000)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=child, args=(f"{sys.argv[1]}-{i}", float(sys.argv[2]))) for i in range(2)]
    for process in children:
        process.start()
    time.sleep(10_000)
"""
"""Starts two children, which call `end_with_parent` after some seconds."""


def _runs(number: int) -> bool:
    return Path(f"/proc/{number}").exists()


@pytest.mark.parametrize("seconds", [0, 2])
def test_children_end_with_their_parent(seconds: float, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), str(tmp_path / "child"), str(seconds)]
    parent = subprocess.Popen(words, env=environment(PYTHONPATH=os.pathsep.join(sys.path)))
    deadline = time.monotonic() + PATIENCE_SECONDS
    files = [tmp_path / f"child-{i}" for i in range(2)]
    while not all(path.exists() and path.read_text() for path in files):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = [int(path.read_text()) for path in files]
    if seconds == 0:
        time.sleep(1)
        assert all(map(_runs, children))
    parent.kill()
    parent.wait()
    while any(map(_runs, children)):
        assert time.monotonic() < deadline, children
        time.sleep(0.05)
