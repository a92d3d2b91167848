"""The start of every command: the options that all have, then the command's own words."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import shards
from shards.command_line.verbs import Command
from shards.command_names import name_commands_as
from shards.errors import UserError, run_command
from shards.loudness import QUIET, VERBOSE, choose_loudness, detail

VERBATIM = ("--sbatch",)
"""Options whose value may look like an option of every command."""


def run_program(program: Command, command: str) -> None:
    """Runs the command line of this process: the options of every command, then the command's own words.

    Args:
        program: the command.
        command: what the user typed for it, such as "python shards/run.py", for messages.
    """
    name_commands_as(command)
    run_command(lambda: _carry_out(program, command))


def _carry_out(program: Command, command: str) -> None:
    words = take_loudness(sys.argv[1:])
    started = time.monotonic()
    detail(f"earshot {shards.__version__}, Python {sys.version.split()[0]}: {' '.join([command, *words])}")
    try:
        program.carry_out(words, command)
    finally:
        detail(f"ended after {time.monotonic() - started:.1f} s")


def take_loudness(words: Sequence[str]) -> list[str]:
    """Sets what `--quiet` and `--verbose` say, and returns the other words.

    Raises:
        UserError: both are given.
    """
    is_value = [before in VERBATIM for before in ["", *words]]
    given = {word for word, value in zip(words, is_value, strict=False) if not value and word in (*QUIET, *VERBOSE)}
    quiet, verbose = not given.isdisjoint(QUIET), not given.isdisjoint(VERBOSE)
    if quiet and verbose:
        raise UserError("give one of --quiet and --verbose, not both")
    choose_loudness(quiet=quiet, verbose=verbose)
    return [word for word, value in zip(words, is_value, strict=False) if value or word not in given]
