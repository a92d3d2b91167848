"""Verbs of a command: which one runs with which options, what is answered before anything is imported, and mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

import shards
from shards.command_line.verbs import Verb, Verbs
from shards.errors import UserError

OPTIONS = '''
from dataclasses import dataclass
from pathlib import Path
from shards.errors import UserError

@dataclass(frozen=True)
class Options:
    """Tunes a fork.

    More on forks."""

    fork: Path
    """Which."""
    hertz: float = 440.0

    def check(self):
        if self.hertz <= 0:
            raise UserError(f"hertz must be > 0, got {self.hertz:g}")
'''
WORK = """
from tuning_options import Options

def tune(options):
    print(f"{options.fork} at {options.hertz:g}")
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    (tmp_path / "tuning_options.py").write_text(OPTIONS)
    (tmp_path / "tuning_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("tuning_options", "tuning_work"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    tune = Verb("tuning_options:Options", "tuning_work:tune", positional=True)
    named = Verb("tuning_options:Options", "tuning_work:tune")
    return Verbs("Works on instruments.", {"tune": tune, "repair": Verbs("Repairs.", {"fork": named})})


def test_a_verb_gets_its_options(command: Verbs, capsys: pytest.CaptureFixture[str]) -> None:
    command.carry_out(["tune", "a/fork", "--hertz", "432"], "instruments")
    command.carry_out(["repair", "fork", "--fork", "b"], "instruments")
    assert capsys.readouterr().out == "a/fork at 432\nb at 440\n"


def test_help_lists_the_verbs_and_imports_none_of_their_work(
    command: Verbs, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--help"], ["-h"], ["tune", "--help"], ["repair", "--help"], ["repair", "fork", "-h"]):
        with pytest.raises(SystemExit) as end:
            command.carry_out(words, "instruments")
        assert end.value.code == 0
    assert "tuning_work" not in sys.modules
    said = capsys.readouterr().out
    assert "usage: instruments [-h] [--version] {tune,repair} …" in said
    assert "  tune    Tunes a fork.\n  repair  Repairs.\n" in said
    assert "usage: instruments repair fork" in said


def test_rules_are_checked_before_the_work_is_imported(command: Verbs) -> None:
    with pytest.raises(UserError, match=r"^hertz must be > 0, got -1$"):
        command.carry_out(["tune", "a", "--hertz", "-1"], "instruments")
    assert "tuning_work" not in sys.modules


def test_an_unknown_verb_is_answered_with_the_nearest(command: Verbs) -> None:
    with pytest.raises(
        UserError, match=r"^unknown verb 'tone' of instruments; did you mean 'tune'\? choose one of: tune, repair$"
    ):
        command.carry_out(["tone"], "instruments")
    with pytest.raises(UserError, match=r"^unknown verb 'x' of instruments repair; choose one of: fork$"):
        command.carry_out(["repair", "x"], "instruments")


@pytest.mark.parametrize(("words", "got"), [([], ""), (["--hertz", "3", "tune"], ", got --hertz")])
def test_a_verb_must_come_first(command: Verbs, words: list[str], got: str) -> None:
    with pytest.raises(UserError, match=f"^instruments needs a verb first{got}; choose one of: tune, repair$"):
        command.carry_out(words, "instruments")


def test_an_unknown_option_is_answered_with_the_nearest(command: Verbs, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.carry_out(["tune", "a", "--hert", "3"], "instruments")
    assert end.value.code == 2
    assert "--hertz" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["shards/run.py", "retrieval/run.py"])
def test_the_version_is_answered_by_every_command(script: str) -> None:
    path = Path(__file__).resolve().parents[4] / script
    done = subprocess.run([sys.executable, str(path), "--version"], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"earshot {shards.__version__}\n")
