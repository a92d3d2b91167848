"""A script in a fork of the warm process is as under `python SCRIPT`: what it finds, prints, raises and ends with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import environment, run, warm_python
from warm_python import PACKAGES

WHAT_IT_FINDS = """
import os, sys, threading
print(__name__, __file__, sys.argv, os.getcwd(), os.environ["SAID"], sys.path[0], threading.active_count())
print("aside", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""

Script = Callable[..., list[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def write(text: str, *words: str) -> list[str]:
        (tmp_path / "script.py").write_text(text)
        return [sys.executable, str(tmp_path / "script.py"), *words]

    return write


def test_it_finds_and_prints_what_python_does(script: Script, tmp_path: Path) -> None:
    command = script(WHAT_IT_FINDS, "7", "two words")
    settings = environment(SAID="so")
    assert warm_python().can_run(command, settings)
    cold = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    warm = run(command, cwd=tmp_path, SAID="so")
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)
    assert cold.returncode == 7


def test_it_ends_as_python_does(script: Script, tmp_path: Path) -> None:
    failed = run(script("import atexit; atexit.register(print, 'at the end'); print('begun'); 1 / 0"), cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "begun\nat the end\n")
    assert failed.stderr.endswith("ZeroDivisionError: division by zero\n")
    killed = run(script("import os; os.kill(os.getpid(), 9)"), cwd=tmp_path)
    assert killed.returncode == -9
    process = warm_python().start(script("import signal; signal.pause()"), cwd=tmp_path, environment=environment())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    assert not Path(f"/proc/{process.pid}").exists()


def test_several_run_at_once_and_draw_numbers_of_their_own(script: Script, tmp_path: Path) -> None:
    meet = "import numpy as np, sys, os; os.close(os.open(sys.argv[1], int(sys.argv[2]))); print(np.random.random())"
    os.mkfifo(tmp_path / "pipe")  # who opens one of its ends waits for the other
    commands = [script(meet, str(tmp_path / "pipe"), str(mode)) for mode in (os.O_RDONLY, os.O_WRONLY)]
    started = [warm_python().start(command, cwd=tmp_path, environment=environment()) for command in commands]
    printed = [process.wait(60).stdout for process in started]
    assert printed[0] != printed[1]
    assert all(0 <= float(text) < 1 for text in printed)


def test_packages_are_imported_before_and_no_thread_is_lost_in_a_fork(script: Script, tmp_path: Path) -> None:
    # The allocator of Arrow has a thread, which it restarts in forks. Polars, which mlflow imports if it is installed,
    # has one that removes spilled files; no test makes any.
    ask = f"import os, sys; print(set({PACKAGES!r}) - set(sys.modules), os.getppid())"
    missing, server = run(script(ask), cwd=tmp_path).stdout.rsplit(maxsplit=1)
    assert missing == "set()"
    names = [(task / "comm").read_text() for task in Path(f"/proc/{server}/task").iterdir()]
    assert sum(not name.startswith(("jemalloc", "polars-ooc")) for name in names) == 1


@pytest.mark.parametrize("name", ["PYTHONPATH", "OMP_NUM_THREADS", "HF_ENDPOINT"])
def test_what_is_read_at_import_needs_a_fresh_python(name: str, script: Script) -> None:
    assert not warm_python().can_run(script(""), environment(**{name: "of its own"}))
    assert not warm_python().can_run([sys.executable, "-c", "pass"], environment())
