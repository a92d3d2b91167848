"""The console command: the verbs of all packages, versions and helps of each, and sentences that name it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

import shards
from downstream.verbs import DOWNSTREAM
from launch.completion.nodes import nodes_of
from launch.console import CONSOLE
from pretrain.verbs import PRETRAIN
from retrieval.verbs import RETRIEVAL
from shards.command_line.verbs import Command, Verb, Verbs
from shards.command_names import as_typed, name_commands_as
from shards.errors import UserError
from shards.verbs import SHARDS

REPOSITORY = Path(__file__).resolve().parents[3]
PATHS = [node.path for node in nodes_of(CONSOLE)]


def paths_with_options(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, Verbs):
        for name, verb in command.verbs.items():
            yield from paths_with_options(verb, (*path, name))
    if not isinstance(command, Verbs) or command.default is not None:
        yield path


def test_the_console_has_every_verb_of_the_packages_and_lists_each_once() -> None:
    packages = (SHARDS, PRETRAIN, RETRIEVAL, DOWNSTREAM)
    assert {name for package in packages for name in package.verbs} - {"train"} <= set(CONSOLE.verbs)
    listed = [name for names in CONSOLE.sections.values() for name in names]
    assert sorted(listed) == sorted(CONSOLE.verbs)


@pytest.mark.parametrize("path", paths_with_options(CONSOLE), ids=" ".join)
def test_every_verb_answers_its_version_and_its_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        CONSOLE.carry_out([*path, "--version"], "earshot")
    assert (end.value.code, capsys.readouterr().out) == (0, f"earshot {shards.__version__}\n")
    with pytest.raises(SystemExit) as end:
        CONSOLE.carry_out([*path, "--help"], "earshot")
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert f"usage: earshot {' '.join(path).removesuffix(' train')}" in text
    assert "--quiet" in text


def verbs_of(command: Command) -> Iterator[Verb]:
    if isinstance(command, Verb):
        yield command
    elif isinstance(command, Verbs):
        for verb in command.verbs.values():
            yield from verbs_of(verb)


@pytest.mark.parametrize("verb", [verb for verb in verbs_of(CONSOLE) if verb.dry_run], ids=lambda verb: verb.run)
def test_a_dry_run_is_a_function_that_exists(verb: Verb) -> None:
    assert callable(resolve_name(verb.dry_run))


@pytest.mark.parametrize(
    ("sentence", "typed"),
    [
        ("build them with 'python shards/run.py build'", "build them with 'earshot build'"),
        ("use `retrieval/run.py split --out F`", "use `earshot split --out F`"),
        ("python pretrain/run.py release RUN", "earshot release RUN"),
        ("python pretrain/run.py demo", "earshot pretrain demo"),
        ("by `downstream/run.py sound-events`, or downstream/run.py report", None),
        ("python launch/compare.py PLAN", "earshot compare PLAN"),
        ("accelerate launch pretrain/run.py", "accelerate launch pretrain/run.py"),
        ("torchrun --nproc_per_node 1 shards/run.py build", "torchrun --nproc_per_node 1 shards/run.py build"),
        ("torchrun --nproc_per_node N pretrain/run.py", "torchrun --nproc_per_node N pretrain/run.py"),
    ],
)
def test_sentences_name_commands_as_they_were_typed(sentence: str, typed: str | None) -> None:
    try:
        name_commands_as("earshot")
        assert as_typed(sentence) == (typed or "by `earshot downstream sound-events`, or earshot report")
        name_commands_as("python shards/run.py")
        assert as_typed(sentence) == sentence
    finally:
        name_commands_as("python")


def test_the_installed_command_runs_from_any_folder(tmp_path: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, function = project["project"]["scripts"]["earshot"].partition(":")
    assert module in project["tool"]["setuptools"]["py-modules"]
    words = [sys.executable, "-c", f"import sys, {module}; sys.exit({module}.{function}())"]
    # The command itself is on the path, not the folder it is called from.
    (tmp_path / "shards").mkdir()
    settings = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}
    for more, status, says in (
        (["info", "nowhere"], 2, "error: no shards at nowhere: no such folder; build them with 'earshot build'\n"),
        (["bild"], 2, "error: unknown verb 'bild' of earshot; did you mean 'build'?"),
    ):
        done = subprocess.run([*words, *more], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith(says)


def test_a_verb_with_a_dry_run_of_its_own_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"has no metadata\.csv"):
        CONSOLE.carry_out(["collect", "clean", str(tmp_path), "--dry-run"], "earshot")
    with pytest.raises(UserError, match=r"^--dry-run is not possible with earshot verify; omit it$"):
        CONSOLE.carry_out(["verify", str(tmp_path), "--dry-run"], "earshot")
