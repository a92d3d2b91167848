"""Completion in real shells: what a Tab offers after some words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from launch.completion.nodes import nodes_of
from launch.completion.scripts import SHELLS, script_of
from launch.console import CONSOLE

BASH = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_earshot
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """
autoload -U compinit; compinit -u -D
compadd() {{ shift; print -l -- $@ }}
_files() {{ }}
source {script}
words=({words}); CURRENT=$#words
_earshot
"""
FISH = """
source {script}
complete -C '{line}'
"""

CASES = [
    ("earshot ''", {"build", "pretrain", "completion"}, {"demo", "--shards"}),
    ("earshot pre''", {"pretrain"}, set()),
    ("earshot pretrain ''", {"demo", "few-pairs", "release"}, {"ucmerced", "build"}),
    ("earshot pretrain --optimizer.l''", {"--optimizer.learning-rate"}, set()),
    ("earshot pretrain demo --loss.name ''", {"sigmoid", "batch-triplet"}, {"demo"}),
    ("earshot pretrain --simclr.''", {"--simclr.temperature"}, set()),
    ("earshot build --source ''", {"recordings", "demo"}, {"build"}),
    ("earshot build --source demo --''", {"--workers", "--check", "--no-previews", "--dry-run", "--quiet"}, {"--tars"}),
    ("earshot study ''", {"prepare", "serve"}, {"build"}),
    ("earshot study serve --''", {"--port"}, {"--folder"}),
    ("earshot downstream ''", {"ucmerced", "report"}, {"demo"}),
    ("earshot downstream --precision ''", {"bf16"}, {"aid"}),
    ("earshot compare ''", {"demo", "paper", "soundscapes-encoders"}, {"ucmerced", "few-pairs", "build"}),
    ("earshot compare sound''", {"soundscapes", "soundscapes-retrieval"}, {"demo"}),
    ("earshot compare demo --''", {"--dry-run", "--slurm"}, set()),
    ("earshot completion ''", {"bash", "zsh", "fish"}, {"csh"}),
]
"""A command line with the word to complete, what must be offered, and what must not."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, nodes = tmp_path_factory.mktemp("completion"), list(nodes_of(CONSOLE, shells=tuple(SHELLS)))
    paths = {shell: folder / f"earshot.{shell}" for shell in SHELLS}
    for shell, path in paths.items():
        path.write_text(script_of(shell, nodes, "earshot"), encoding="utf-8")
    return paths


def offered(shell: str, script: Path, line: str) -> set[str]:
    code = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell].format(
        script=script, words=line, line=line.replace("''", "")
    )
    done = subprocess.run([shell, "-c", code], cwd=script.parent, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    current = line.rpartition(" ")[2].replace("''", "")
    return {word.split("\t")[0] for word in done.stdout.split("\n") if word.startswith(current)}


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(shell, marks=[pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")])
        for shell in SHELLS
    ],
)
@pytest.mark.parametrize(("line", "among", "not_among"), CASES, ids=[line for line, _, _ in CASES])
def test_a_tab_offers_what_can_follow(
    shell: str, line: str, among: set[str], not_among: set[str], scripts: dict[str, Path]
) -> None:
    words = offered(shell, scripts[shell], line)
    assert among <= words
    assert not not_among & words


def test_bash_completes_files_where_nothing_else_fits(scripts: dict[str, Path]) -> None:
    code = f"source {scripts['bash']}; complete -p earshot"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "complete -o default -F _earshot earshot\n"
