"""Processor time of answers that need no work: help, versions and mistakes, beside another checkout where one is given.

The rival is what those answers cost when a command imports its work before it reads its words: `--against` names a
checkout of such a commit. Each case is a process of its own; the fastest of three counts, user and system time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target, Value
from startup_cases import CASES, prepare

SUITE = "start-up"
REPOSITORY = Path(__file__).resolve().parents[2]
REPEATS = 3
IGNORED_BEFORE = "--loss.margin"
"""Commits that ignored a setting without effect would begin to train."""
OURS, OTHER = "seconds", "seconds_before"
COMPARED = ("pretrain/run.py --help", "retrieval/run.py --help", "downstream/run.py --help")

TARGETS = tuple(
    Target(f"{case}, ours / before", Figure(SUITE, case, OURS), Figure(SUITE, case, OTHER), 0.1, at_most=True)
    for case in COMPARED
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Every case in this checkout, and in the other."""
    folder = place.folder / "start-up"
    folder.mkdir()
    prepare(folder)
    rows = []
    for words, _ in CASES[::8] if place.quick else CASES:
        figures: dict[str, Value] = {OURS: processor_seconds(REPOSITORY, words, folder, place.quick)}
        if place.against and IGNORED_BEFORE not in words:
            figures[OTHER] = processor_seconds(place.against, words, folder, place.quick)
        rows.append(Row(SUITE, " ".join(words), figures))
    return rows


def processor_seconds(checkout: Path, words: tuple[str, ...], folder: Path, quick: bool) -> float:
    """User and system time of a command in a checkout, the least of a few runs."""
    command = [sys.executable, str(checkout / words[0]), *words[1:]]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    seconds = []
    for _ in range(1 if quick else REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(min(seconds), 3)
