"""Command lines: a command's verbs, the options of each, `--help` and `--version`, the same way for every command."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, TypeVar

import shards
from shards.errors import UserError
from shards.registry import Registry, nearest

Options = TypeVar("Options")

HELP = ("-h", "--help")


@dataclass(frozen=True)
class Verb:
    """What one word makes a command do.

    Attributes:
        options: `module:Dataclass` of the options that it takes. `--help` imports it, so its module imports little. Its
            method `check`, where it has one, is called before anything heavy is imported.
        run: `module:function` that carries it out, called with the options; imported only then.
        positional: whether the options without a default are given by their values alone.
    """

    options: str
    run: str
    positional: bool = False

    @property
    def description(self) -> str:
        """What `--help` says of it."""
        return str(resolve_name(self.options).__doc__)

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Reads the options from `words` and carries out the verb.

        Args:
            words: what follows the verb.
            command: what stands before them, for messages.

        Raises:
            UserError: an option is against its rule.
            SystemExit: `--help`, or an option that there is not or that can't be parsed (the nearest is suggested).
        """
        options = parse_options(resolve_name(self.options), words, command, positional=self.positional)
        if hasattr(options, "check"):
            options.check()
        resolve_name(self.run)(options)


@dataclass(frozen=True)
class Verbs:
    """A command, or a verb of one, whose next word is a verb.

    Attributes:
        description: what `--help` says of it.
        verbs: by name.
    """

    description: str
    verbs: Mapping[str, Verb | Verbs]

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Reads the verb and carries it out.

        Args:
            words: the command line.
            command: what stands before them, such as "python shards/run.py", for messages.

        Raises:
            UserError: no verb, or one that there is not (the nearest is suggested).
            SystemExit: `--help` or `--version`, or as the verb raises it.
        """
        answer_version(words[:1])
        verb, rest = (words[0], words[1:]) if words else ("", [])
        if verb in HELP:
            print(self._help(command))
            raise SystemExit(0)
        if not verb or verb.startswith("-"):
            got = f"got {verb} before it; " if verb else ""
            raise UserError(f"{command} needs a verb first; {got}choose one of: {', '.join(self.verbs)}")
        if verb not in self.verbs:
            raise UserError(
                f"unknown verb {verb!r} of {command}; {nearest(verb, self.verbs)}choose one of: {', '.join(self.verbs)}"
            )
        self.verbs[verb].carry_out(rest, f"{command} {verb}")

    def _help(self, command: str) -> str:
        width = max(map(len, self.verbs)) + 4
        lines = [f"usage: {command} [-h] [--version] {{{','.join(self.verbs)}}} …", "", self.description, "", "verbs:"]
        for name, verb in self.verbs.items():
            first_line = verb.description.strip().split("\n")[0]
            lines += textwrap.wrap(
                first_line, width=100, initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width
            )
        return "\n".join([*lines, "", f"The options of a verb: {command} VERB --help"])


def parse_options(kind: type[Options], words: Sequence[str], command: str, *, positional: bool = False) -> Options:
    """Reads a dataclass of options from words, as tyro does; its docstring is what `--help` says.

    Raises:
        SystemExit: `--help`, or an option that there is not or that can't be parsed (the nearest is suggested).
    """
    import tyro

    config = (tyro.conf.PositionalRequiredArgs,) if positional else ()
    return tyro.cli(kind, args=list(words), prog=command, config=config)


def answer_version(words: Sequence[str]) -> None:
    """Prints Earshot's version and ends the command where `--version` is among the words.

    Raises:
        SystemExit: it is.
    """
    if "--version" in words:
        print(f"earshot {shards.__version__}")
        raise SystemExit(0)


def one_of(choices: Registry[Any]) -> Any:
    """For an option's type, `Annotated[str, one_of(LOSSES)]`: `--help` shows what the option may be."""
    import tyro

    return tyro.conf.arg(metavar=choices.metavar)
