"""Python code in a process that has torch, torchvision and timm, but no Earshot: as others load released weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from commands import PATIENCE_SECONDS, environment

EARSHOT = ("shards", "pretrain", "downstream", "retrieval", "launch", "hubconf", "earshot")

WITHOUT_EARSHOT = f"""
import importlib, sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EARSHOT!r}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Refusal())
for name in {EARSHOT!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    raise SystemExit(name + " can be imported")
"""


def run_without_earshot(code: str, *words: str | Path, cwd: Path, **more: str) -> str:
    """Runs code in isolated mode (no PYTHON* variables, no current folder on the path); what it prints."""
    result = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_EARSHOT + code, *map(str, words)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
