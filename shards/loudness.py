"""How much a command prints: `--quiet`, results and problems alone; `--verbose`, more; it holds for child processes."""

from __future__ import annotations

import os
import sys
from typing import TextIO

VARIABLE = "EARSHOT_OUTPUT"
"""The environment variable that carries the choice to child processes: "quiet", "verbose", or unset."""
QUIET = ("-q", "--quiet")
VERBOSE = ("-v", "--verbose")


def choose_loudness(*, quiet: bool, verbose: bool) -> None:
    """Sets how much this process and its children print; with neither, the environment's choice stays."""
    if quiet or verbose:
        os.environ[VARIABLE] = "quiet" if quiet else "verbose"


def is_quiet() -> bool:
    """Whether only results, warnings and errors are printed: no progress and no notes."""
    return os.environ.get(VARIABLE) == "quiet"


def is_verbose() -> bool:
    """Whether more is printed: settings, progress every second, the time a command took, tracebacks of errors."""
    return os.environ.get(VARIABLE) == "verbose"


def note(text: str, stream: TextIO | None = None) -> None:
    """Prints a line that is neither a result nor a problem, unless `--quiet` was given.

    Args:
        text: the line.
        stream: where to; by default standard error.
    """
    if not is_quiet():
        print(text, file=stream or sys.stderr, flush=True)


def detail(text: str) -> None:
    """Prints a line to standard error if `--verbose` was given."""
    if is_verbose():
        print(text, file=sys.stderr, flush=True)
