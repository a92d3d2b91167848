"""Ctrl-C at any moment of a command's start: one line and status 130, without a traceback of any of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import BIN, PATIENCE_SECONDS, REPOSITORY, SMALL, environment
from released_runs import write_run
from tiny_shards import write_tiny_shards

PYTHON, EARSHOT = str(BIN / "python"), str(BIN / "earshot")
EVALUATE = ("evaluate", "--weights", "run", "--shards", "shards", "--out", "evaluated")
PRETRAIN = ("demo", "--shards", "shards", "--out", "new", *SMALL, "--data.workers", "1", "--epochs", "10000")

COMMANDS = {
    "evaluate": (EARSHOT, *EVALUATE),
    "pretrain": (EARSHOT, "pretrain", *PRETRAIN),
    "pretrain/run.py": (str(REPOSITORY / "pretrain" / "run.py"), *PRETRAIN),
    "retrieval/run.py": (str(REPOSITORY / "retrieval" / "run.py"), *EVALUATE),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard set and a run."""
    folder = tmp_path_factory.mktemp("ctrl-c")
    write_tiny_shards(folder / "shards", {"train": 20, "val": 6, "test": 6})
    write_run(folder / "run", folder / "shards")
    return folder


def start(*words: str, folder: Path) -> subprocess.Popen[str]:
    """Starts Python in a session of its own, as a terminal does."""
    return subprocess.Popen(
        [PYTHON, *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def press_ctrl_c(process: subprocess.Popen[str]) -> str:
    """Sends SIGINT to all processes of the session, and returns the rest of what they print to standard error."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=PATIENCE_SECONDS)[1]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 0.6, 1.2, 2.0, 3.0])
@pytest.mark.parametrize("name", ["pretrain", "evaluate"])
def test_ctrl_c_ends_a_command_that_is_loading(name: str, seconds: float, folder: Path) -> None:
    process = start(*COMMANDS[name], "--verbose", folder=folder)
    assert process.stderr is not None
    # The line that is printed when the command's words are read; before, Python itself may be starting.
    assert process.stderr.readline().startswith("earshot ")
    time.sleep(seconds)
    errors = press_ctrl_c(process)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "stopped by the user\n" in errors


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command_whose_verbs_are_being_imported(name: str, folder: Path) -> None:
    process = start("-X", "importtime", *COMMANDS[name], folder=folder)
    assert process.stderr is not None
    while not process.stderr.readline().endswith(" shards.loading\n"):
        pass
    process.stderr.readline()
    errors = press_ctrl_c(process)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.endswith("stopped by the user\n")
    assert "torch" not in errors
