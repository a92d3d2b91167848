"""Whole commands on changed inputs: how each ends, and what it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from commands import python, run
from fuzz.campaign import ACCEPTED, MOST_LETTERS, REFUSED, Findings, changed_input
from fuzz.model_families import PLAN, write_results, write_retrieval_metrics
from fuzz.mutations import Mutation, change_bytes, change_json, change_json_lines, change_text
from fuzz.shard_families import ROWS
from pair_folders import write_image, write_sound
from released_runs import write_run
from tiny_shards import write_tiny_shards

PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class CommandFamily:
    """A command and the file that is changed.

    Attributes:
        name: unique.
        write: writes what the command reads into an empty folder.
        target: the file to be changed, within the folder.
        words: of the command, for a folder.
        change: how the file is changed.
    """

    name: str
    write: Callable[[Path], object]
    target: str
    words: Callable[[Path], list[str]]
    change: Mutation


def try_command(family: CommandFamily, numbers: range, seed: int) -> Findings:
    """Runs the command on the inputs with these numbers."""
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        template, tried = Path(name) / "valid", Path(name) / "tried"
        template.mkdir()
        family.write(template)
        valid = (template / family.target).read_bytes()

        def outcome_of(content: bytes) -> str:
            shutil.rmtree(tried, ignore_errors=True)
            shutil.copytree(template, tried)
            (tried / family.target).write_bytes(content)
            return _outcome(family, tried)

        outcome = outcome_of(valid)
        assert outcome == ACCEPTED, f"{family.name} does not accept its valid input: {outcome}"
        for number in numbers:
            findings.add(number, outcome_of(changed_input(family, valid, seed, number)))
    return findings


def _outcome(family: CommandFamily, folder: Path) -> str:
    try:
        ended = run(family.words(folder), cwd=folder, timeout_seconds=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end within {PATIENCE_SECONDS:.0f} s"
    if "Traceback" in ended.stderr:
        return f"status {ended.returncode}, a traceback: {ended.stderr.strip().splitlines()[-1][:200]}"
    if ended.returncode not in (0, 1, 2):
        return f"status {ended.returncode}: {ended.stderr[-200:]}"
    if re.search(r"[\x00-\x08\x0e-\x1f]", (ended.stderr + ended.stdout).replace("\x1b[", "")):
        return "control characters reached the terminal"
    if ended.returncode == 0:
        return ACCEPTED
    said = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    if ended.returncode == 2 and not said:
        return f"no sentence: {ended.stderr[-200:]}"
    longest = max((len(line.replace(str(folder), "")) for line in said), default=0)
    return REFUSED if longest <= MOST_LETTERS else f"a sentence of {longest} letters: {said[-1][:160]}"


def _set(folder: Path) -> None:
    write_tiny_shards(folder / "set", {"train": 7, "test": 3}, image_side=32)


def _corpus(folder: Path) -> None:
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "audio").mkdir()
    lines = ["key,longitude,latitude,title"]
    for row in ROWS[:4]:
        key = row["key"]
        write_image(folder / "images" / f"{key}.png", (90, 60, 30), generator)
        write_sound(folder / "audio" / f"{key}.wav", 440.0, generator)
        lines.append(f"{key},{row['longitude']},{row['latitude']},{row['title']}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def _build(folder: Path, *more: str) -> list[str]:
    places = ("--source", "recordings", "--root", folder, "--out", folder / "out")
    words = (*places, "--max-rejected", "1", "--workers", "1")
    return python("shards/run.py", "build", *words, *more)


def _run(folder: Path) -> None:
    shards = write_tiny_shards(folder / "set", {"train": 16, "val": 4, "test": 4}, image_side=32)
    write_run(folder / "run", shards)


def _run_and_files(folder: Path) -> None:
    _run(folder)
    _corpus(folder)


def _plan(folder: Path) -> None:
    write_tiny_shards(folder / "set", {"train": 16, "val": 4, "test": 4}, image_side=32)
    (folder / "plan.yaml").write_text(PLAN.replace("shards: set", f"shards: {folder / 'set'}"))


def _evaluate(folder: Path) -> list[str]:
    words = ("--weights", folder / "run", "--shards", folder / "set", "--split", "test", "--out", folder / "out")
    return python("retrieval/run.py", "evaluate", *words, "--crops", "1")


def _embed(folder: Path, kind: str) -> list[str]:
    files = folder / {"images": "images", "sounds": "audio"}[kind]
    words = ("--weights", folder / "run", f"--{kind}", files, "--out", folder / "embeddings.npz")
    return python("retrieval/run.py", "embed", *words)


def _release(folder: Path) -> list[str]:
    return python("pretrain/run.py", "release", folder / "run", "--out", folder / "out")


def _report(folder: Path) -> list[str]:
    return python("downstream/run.py", "report", folder, "--out", folder / "report")


def _compare(folder: Path) -> list[str]:
    return python("launch/compare.py", folder / "plan.yaml", "--out", folder / "out", "--report-only")


MANIFEST, INDEX, TAR = "set/manifest.json", "set/train-000000.index.npy", "set/train-000000.tar"
COMMANDS = [
    *(
        CommandFamily(f"{verb} {name}", _set, target, words, change)
        for verb, words in (
            ("info", lambda folder: python("shards/run.py", "info", folder / "set")),
            ("verify", lambda folder: python("shards/run.py", "verify", folder / "set")),
        )
        for name, target, change in (
            ("manifest", MANIFEST, change_json),
            ("index", INDEX, change_bytes),
            ("tar", TAR, change_bytes),
        )
    ),
    CommandFamily("build --check csv", _corpus, "metadata.csv", lambda folder: _build(folder, "--check"), change_text),
    CommandFamily("build csv", _corpus, "metadata.csv", _build, change_text),
    CommandFamily("build png", _corpus, "images/1.png", _build, change_bytes),
    CommandFamily("build wav", _corpus, "audio/1.wav", _build, change_bytes),
    CommandFamily("evaluate config", _run, "run/model/config.json", _evaluate, change_json),
    CommandFamily("evaluate weights", _run, "run/model/model.safetensors", _evaluate, change_bytes),
    CommandFamily("evaluate manifest", _run, MANIFEST, _evaluate, change_json),
    CommandFamily("evaluate tar", _run, "set/test-000000.tar", _evaluate, change_bytes),
    CommandFamily("embed png", _run_and_files, "images/1.png", lambda folder: _embed(folder, "images"), change_bytes),
    CommandFamily("embed wav", _run_and_files, "audio/1.wav", lambda folder: _embed(folder, "sounds"), change_bytes),
    CommandFamily("release summary", _run, "run/summary.json", _release, change_json),
    CommandFamily("release metrics", _run, "run/metrics.jsonl", _release, change_json_lines),
    CommandFamily("release settings", _run, "run/config.yaml", _release, change_text),
    CommandFamily("report results", write_results("ucmerced"), "results.json", _report, change_json),
    CommandFamily(
        "show metrics",
        write_retrieval_metrics,
        "metrics.json",
        lambda folder: python("retrieval/run.py", "show", folder),
        change_json,
    ),
    CommandFamily("compare plan", _plan, "plan.yaml", _compare, change_text),
]
