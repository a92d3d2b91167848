"""Runs `shards/run.py` as a user does, and what its tests ask of the result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def command(verb: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "shards/run.py", verb, *map(str, arguments)]


def run(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(verb, *arguments), cwd=ROOT, text=True, capture_output=True, timeout=120)


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
