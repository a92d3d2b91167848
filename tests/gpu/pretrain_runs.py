"""`pretrain/run.py` as a process of its own, whose end is checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = str(Path(__file__).resolve().parents[2] / "pretrain" / "run.py")


def run_pretraining(words: list[str], *, wrapper: tuple[str, ...] = (), expected_status: int = 0, **more: str) -> str:
    """Runs it to its end; what it printed on standard error.

    Args:
        words: after the script.
        wrapper: of Python, before the script.
        expected_status: with which it must end.
        more: variables of its environment.

    Raises:
        RuntimeError: it ended otherwise; the message holds its last line, and all of it is printed.
    """
    command = [sys.executable, *wrapper, SCRIPT, *words]
    result = subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    if result.returncode != expected_status:
        print(result.stderr, file=sys.stderr)
        last = next((line for line in reversed(result.stderr.splitlines()) if line.strip()), "it printed nothing")
        raise RuntimeError(f"pretrain/run.py ended with status {result.returncode}, not {expected_status}: {last}")
    return result.stderr
