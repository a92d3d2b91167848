"""The same work by two checkouts in turn, each with its own code: this one, and the one that `--against` names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.corpus import REPOSITORY, Workplace
from benchmarks.results import Figure, Row, Target, Value

PROBES = Path(__file__).resolve().parent / "probes"
BEFORE = ", --against"
"""Ends the name of a case of the other checkout."""


@dataclass(frozen=True)
class CpuForm:
    """What a training is told of the CPU.

    Attributes:
        variables: of the environment.
        words: of the command line.
    """

    variables: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()


NATIVE, AVX2 = "demo", "demo, AVX2 and float32"
CPU_FORMS = {NATIVE: CpuForm(), AVX2: CpuForm({"ONEDNN_MAX_CPU_ISA": "AVX2"}, ("--precision", "fp32"))}
"""With the instructions of this CPU, and as on one without those for bf16."""


@dataclass(frozen=True)
class Checkout:
    """A checkout whose commands and packages are used.

    Attributes:
        root: its folder.
        suffix: of the names of its cases.
        variables: of the environment, beside those of this process.
    """

    root: Path
    suffix: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def start(
        self, script: Path | str, *words: object, cwd: Path | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Starts a script, by its path within the checkout or anywhere, with the packages of the checkout."""
        path = os.pathsep.join((str(self.root), str(self.root / "tests")))
        environment = os.environ | {"PYTHONPATH": path, **self.variables}
        command = [sys.executable, str(self.root / script), *map(str, words)]
        return subprocess.Popen(command, cwd=cwd, env=environment, **options)

    def run(self, script: Path | str, *words: object, cwd: Path | None = None) -> tuple[float, str]:
        """Runs a script to its end: seconds, and what it printed.

        Raises:
            RuntimeError: it failed.
        """
        started = time.perf_counter()
        with self.start(script, *words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            printed, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{script} of {self.root} ended with status {process.returncode}: {errors[-2000:]}")
        return time.perf_counter() - started, printed

    def probe(self, name: str, *words: object) -> dict[str, Value]:
        """The figures that a script of `probes/` prints, with the packages of the checkout."""
        figures: dict[str, Value] = json.loads(self.run(PROBES / f"{name}.py", *words)[1].splitlines()[-1])
        return figures


def checkouts(place: Workplace, **variables: str) -> list[Checkout]:
    """This checkout, and the one of `--against` where it is given."""
    others = [Checkout(place.against.resolve(), BEFORE, variables)] if place.against else []
    return [Checkout(REPOSITORY, "", variables), *others]


def in_turn(
    suite: str,
    case: str,
    of: list[Checkout],
    measure: Callable[[Checkout], dict[str, Value]],
    repeats: int = 1,
) -> list[Row]:
    """A row for each checkout, measured alternately; of a few repeats the least of each figure."""
    found: dict[str, list[dict[str, Value]]] = {checkout.suffix: [] for checkout in of}
    for _ in range(repeats):
        for checkout in of:
            found[checkout.suffix].append(measure(checkout))
    return [
        Row(suite, case + suffix, {name: min(run[name] for run in runs) for name in runs[0]})  # type: ignore[type-var]
        for suffix, runs in found.items()
    ]


def compared(what: str, suite: str, case: str, name: str, bound: float, *, at_most: bool = True) -> Target:
    """The target of a ratio of this checkout to the other."""
    return Target(
        f"{what}, this checkout / --against",
        Figure(suite, case, name),
        Figure(suite, case + BEFORE, name),
        bound,
        at_most=at_most,
    )
