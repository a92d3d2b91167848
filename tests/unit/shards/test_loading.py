"""Ctrl-C during imports: at once while a command loads, after the import while it works, never where it is ignored."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.loading import Loading, Working

SWALLOWS = """
import signal, time
try:
    {interrupt}
    time.sleep({seconds})
except BaseException as error:
    print("swallowed", type(error).__name__, flush=True)
"""
"""A module that is interrupted while it is imported, and goes on as if nothing had happened."""

PROGRAM = """
import os, signal, sys, time
from shards.errors import run_command
from shards.loading import Loading
interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)
def main():
{body}
run_command(main)
"""
ONCE, TWICE = "signal.raise_signal(2)", "signal.raise_signal(2); signal.raise_signal(2)"


def outcome(
    body: str, folder: Path, *, interrupt: str = ONCE, seconds: float = 0.3, before: Callable[[], object] | None = None
) -> tuple[str, str, int]:
    """What a command prints, and its status; `import library` is interrupted."""
    (folder / "library.py").write_text(SWALLOWS.format(interrupt=interrupt, seconds=seconds), encoding="utf-8")
    code = PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()))
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=before)
    return done.stdout, done.stderr, done.returncode


STOPPED = ("", "stopped by the user\n", 130)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("with Loading(): import library", STOPPED),
        ("with Loading():\n  with Loading(): pass\n  import library", STOPPED),
        ("import library\ntime.sleep(30)", STOPPED),
        ("with Loading(): pass\nimport library\ntime.sleep(30)", STOPPED),
        ("try: time.sleep(0); interrupt()\nfinally: print('tidied', flush=True)", ("tidied\n", *STOPPED[1:])),
        ("try: interrupt()\nexcept KeyboardInterrupt: raise ImportError('no module')", STOPPED),
        (
            "try: interrupt()\nexcept KeyboardInterrupt: pass\ntry: raise ImportError('x')\nexcept ImportError: pass",
            ("", "", 0),
        ),
    ],
)
def test_ctrl_c_is_neither_lost_in_an_import_nor_a_traceback(
    body: str, expected: tuple[str, str, int], tmp_path: Path
) -> None:
    assert outcome(body, tmp_path) == expected


def test_a_second_ctrl_c_interrupts_an_import_of_the_work(tmp_path: Path) -> None:
    stdout, _, status = outcome("import library", tmp_path, interrupt=TWICE, seconds=60)
    assert (stdout, status) == ("swallowed KeyboardInterrupt\n", 0)


def test_where_sigint_is_ignored_it_stays_ignored(tmp_path: Path) -> None:
    body = "with Loading(): import library\nimport library\nprint(signal.getsignal(2) is signal.SIG_IGN)"
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    assert outcome(body, tmp_path, before=ignore) == ("True\n", "", 0)


def test_a_fork_of_a_loading_command_cleans_up(tmp_path: Path) -> None:
    body = """
with Loading():
  child = os.fork()
  if child == 0:
    try: interrupt(); time.sleep(30)
    except KeyboardInterrupt: os._exit(7)
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert outcome(body, tmp_path) == ("7\n", "", 0)


@pytest.mark.parametrize("kind", [Loading, Working])
def test_a_handler_of_the_program_s_own_is_kept(kind: type[Loading | Working]) -> None:
    def own(*_: object) -> None: ...

    former = signal.signal(signal.SIGINT, own)
    try:
        with kind():
            assert signal.getsignal(signal.SIGINT) is own
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with kind():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            signal.signal(signal.SIGINT, own)
        assert signal.getsignal(signal.SIGINT) is own
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with kind(), Loading():
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)


def test_processes_of_multiprocessing_keep_their_own_handling(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, signal\n"
        "from shards.loading import Loading\n"
        "def kept():\n"
        "    with Loading(): raise SystemExit(signal.getsignal(2) is not signal.default_int_handler)\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=kept)\n"
        "    child.start(); child.join(); raise SystemExit(child.exitcode)\n",
        encoding="utf-8",
    )
    assert subprocess.run([sys.executable, str(script)], timeout=120, check=False).returncode == 0
