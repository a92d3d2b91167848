"""Runs `shards/run.py` as a user does, and what its tests ask of the result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from commands import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[1]

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def command(verb: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "shards/run.py", verb, *map(str, arguments)]


def run(verb: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a verb to its end, with more variables in its environment where they are named."""
    return subprocess.run(
        command(verb, *arguments),
        cwd=ROOT,
        env=started_alone() | environment,
        text=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )


def started_alone() -> dict[str, str]:
    """This process's environment, as it is where no launcher and no scheduler has started it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHED and not name.startswith(("SLURM_", "TORCHELASTIC_"))
    }


def build_arguments(root: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--source", "recordings", "--root", str(root), "--max-rejected", "0.1", "--samples-per-shard", "5"]
    return [*fixed, "--out", str(out), *more]


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a command ended on."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("error: ")
    return sentence


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
