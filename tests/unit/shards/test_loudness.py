"""--quiet and --verbose: what is printed under each, here and in child processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

from shards.command_line.entry import take_loudness
from shards.errors import UserError
from shards.loudness import VARIABLE, is_quiet, is_verbose, note
from shards.progress import ProgressLine


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what the test sets is undone.
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)


@pytest.mark.parametrize(
    ("words", "left", "quiet", "verbose"),
    [
        (["build", "--quiet"], ["build"], True, False),
        (["-q", "build"], ["build"], True, False),
        (["build", "-v", "--out", "o"], ["build", "--out", "o"], False, True),
        (["compare", "--sbatch", "--quiet"], ["compare", "--sbatch", "--quiet"], False, False),
        (["compare", "--sbatch", "--quiet", "-v"], ["compare", "--sbatch", "--quiet"], False, True),
    ],
)
def test_the_options_are_taken_from_anywhere(words: list[str], left: list[str], quiet: bool, verbose: bool) -> None:
    assert take_loudness(words) == left
    assert (is_quiet(), is_verbose()) == (quiet, verbose)


def test_both_together_are_refused() -> None:
    with pytest.raises(UserError, match=r"^give one of --quiet and --verbose, not both$"):
        take_loudness(["-q", "build", "-v"])


def test_work_of_nothing_prints_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("working", 0):
        pass
    assert capsys.readouterr().err == ""


def work() -> None:
    note("a note")
    with ProgressLine("working", 2) as progress:
        progress.advance()
        progress.write("a line")
        progress.write("warning: a warning", warning=True)
        progress.advance()


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["a note", "a line", "warning: a warning", "working: 2/2"]),
        (["-q"], ["warning: a warning"]),
        (["-v"], ["a note", "a line", "warning: a warning", "working: 2/2"]),
    ],
)
def test_progress_and_notes_are_silent_and_warnings_are_not(
    words: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    take_loudness(words)
    work()
    heard = capsys.readouterr()
    assert heard.out == ""
    assert [line.split(" in ")[0] for line in heard.err.splitlines()] == lines


def test_progress_is_printed_every_second_when_verbose(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr("shards.progress.time.monotonic", lambda: next(clock))
    for words, count in (([], 1), (["-v"], 4)):
        take_loudness(words)
        with ProgressLine("working", 3) as progress:
            for _ in range(3):
                progress.advance()
        assert len(capsys.readouterr().err.splitlines()) == count


def test_verbose_explains_an_error_and_quiet_prints_it(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(repository / "shards/run.py"), "info", "nowhere"]
    sentence = "error: no shards at nowhere: no such folder; build them with 'python shards/run.py build'\n"
    for word, more in (("--quiet", ""), ("--verbose", "Traceback (most recent call last)")):
        done = subprocess.run([*command, word], cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.endswith(sentence)
        assert more in done.stderr
        assert (done.stderr == sentence) is (word == "--quiet")


def test_child_processes_print_as_their_parent_does(tmp_path: Path) -> None:
    take_loudness(["--quiet"])
    code = "from shards.loudness import note; note('heard'); print('result')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(Path(__file__).parents[3])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("result\n", "")
