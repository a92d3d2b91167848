"""What can follow each verb of a command: verbs, names such as presets, options, and the choices of options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

from shards.command_line.verbs import Command, Program, Verbs
from shards.loudness import QUIET, VERBOSE

EVERYWHERE = ("--help", "--version", *QUIET, *VERBOSE)


@dataclass(frozen=True)
class Node:
    """A command line up to a verb.

    Attributes:
        path: the verbs, such as ("study", "serve"); () for the command itself.
        words: what may follow without a dash: verbs and names such as presets.
        verbs: those of them that are verbs.
        options: names of options.
        choices: values of options that have a fixed set of them.
    """

    path: tuple[str, ...]
    words: tuple[str, ...]
    verbs: tuple[str, ...]
    options: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]


def nodes_of(command: Command, path: tuple[str, ...] = (), shells: Sequence[str] = ()) -> Iterator[Node]:
    """All nodes of a command, each before those below it.

    Args:
        command: the command.
        path: the verbs that lead to it.
        shells: names that may follow `completion`.
    """
    verbs = command.verbs if isinstance(command, Verbs) else {}
    names = _names(command.default if isinstance(command, Verbs) else command)
    if path == ("completion",):
        names = tuple(shells)
    options = command.options()
    yield Node(
        path,
        (*verbs, *names),
        tuple(verbs),
        (*(name for option in options for name in option.names), *EVERYWHERE),
        {name: option.choices for option in options for name in option.names if option.choices},
    )
    for name, verb in verbs.items():
        yield from nodes_of(verb, (*path, name), shells)


def _names(command: Command | None) -> tuple[str, ...]:
    """The names that a program takes as a word of its own."""
    if not isinstance(command, Program) or not command.positional:
        return ()
    return tuple(resolve_name(command.positional))
