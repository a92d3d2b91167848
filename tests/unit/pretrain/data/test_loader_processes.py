"""Loader processes are forks of one server, which has imported what they need and ignores schedulers' signals."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import PATIENCE_SECONDS, environment
from torch.utils.data import IterableDataset

from pretrain.data.batches import training_loader
from pretrain.data.loader_processes import PRELOADED

SCRIPT = """
import pretrain.data.loader_processes as server

if __name__ == "__main__":
    server.start_server()
    from pretrain.data.batches import training_loader
    from shards_of_nothing import Nothing
    print(len(list(training_loader(Nothing(), workers=1, pin_memory=False))))
"""
DATASET = """
from torch.utils.data import IterableDataset

class Nothing(IterableDataset):
    def __iter__(self):
        yield {}
"""


class Origins(IterableDataset[dict[str, Any]]):
    """Of each loader: its parent, and its own memory, which it shares with no other process, in KiB."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield {"parent": os.getppid(), "own_kib": _figure("/proc/self/smaps_rollup", "Private_Dirty", base=10)}


def _figure(path: str, field: str, base: int) -> int:
    lines = Path(path).read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1], base)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loaders_are_forks_of_one_server_that_ignores_the_signals() -> None:
    loaders = list(training_loader(Origins(), workers=2, pin_memory=False))
    parents = {loader["parent"] for loader in loaders}
    assert (len(loaders), len(parents)) == (2, 1)
    assert os.getpid() not in parents
    ignored = _figure(f"/proc/{parents.pop()}/status", "SigIgn", base=16)
    assert all(ignored >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGUSR1))
    # torch alone takes 300 MB of a process that imports it.
    assert all(loader["own_kib"] < 100_000 for loader in loaders)


@pytest.mark.parametrize("name", PRELOADED[1:])
def test_what_the_server_imports_exists(name: str) -> None:
    # A server passes over what it can't import, and every loader would import it again.
    importlib.import_module(name)


def test_no_module_comes_from_the_current_folder(tmp_path: Path) -> None:
    folder, script = tmp_path / "data", tmp_path / "program" / "script.py"
    folder.mkdir()
    script.parent.mkdir()
    script.write_text(SCRIPT)
    (script.parent / "shards_of_nothing.py").write_text(DATASET)
    (folder / "cv2.py").write_text("open('imported', 'w').close()")
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment(PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n", "")
    assert not (folder / "imported").exists()
