"""Command lines: verbs, their options, `--help` and `--version`, alike for every command."""

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
    """A verb of a command.

    Attributes:
        options: `module:Dataclass` of its options. `--help` imports it, so keep that module's imports light. If the
            dataclass has a method `check`, it is called before anything heavy is imported.
        run: `module:function` that is called with the options; imported only then.
        positional: whether options without a default are positional arguments.
    """

    options: str
    run: str
    positional: bool = False

    @property
    def description(self) -> str:
        """The text that `--help` shows."""
        return str(resolve_name(self.options).__doc__)

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Parses the options in `words` and runs the verb.

        Args:
            words: the command line after the verb.
            command: the command line up to and including the verb, for messages.

        Raises:
            UserError: an option has an invalid value.
            SystemExit: `--help`, or an unknown option or one that can't be parsed (the nearest is suggested).
        """
        options = parse_options(resolve_name(self.options), words, command, positional=self.positional)
        if hasattr(options, "check"):
            options.check()
        resolve_name(self.run)(options)


@dataclass(frozen=True)
class Verbs:
    """A command, or a verb with verbs of its own.

    Attributes:
        description: the text that `--help` shows.
        verbs: the verbs by name.
    """

    description: str
    verbs: Mapping[str, Verb | Verbs]

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Parses the verb and runs it.

        Args:
            words: the command line after the command.
            command: the command itself, such as "python shards/run.py", for messages.

        Raises:
            UserError: no verb, or an unknown one (the nearest is suggested).
            SystemExit: `--help` or `--version`, or raised by the verb.
        """
        answer_version(words[:1])
        verb, rest = (words[0], words[1:]) if words else ("", [])
        if verb in HELP:
            print(self._help(command))
            raise SystemExit(0)
        if not verb or verb.startswith("-"):
            got = f", got {verb}" if verb else ""
            raise UserError(f"{command} needs a verb first{got}; choose one of: {', '.join(self.verbs)}")
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
    """Parses a dataclass of options with tyro; `--help` shows its docstring.

    Raises:
        SystemExit: `--help`, or an unknown option or one that can't be parsed (the nearest is suggested).
    """
    import tyro

    config = (tyro.conf.PositionalRequiredArgs,) if positional else ()
    return tyro.cli(kind, args=list(words), prog=command, config=config)


def answer_version(words: Sequence[str]) -> None:
    """Prints Earshot's version and exits if `--version` is among the words.

    Raises:
        SystemExit: after printing.
    """
    if "--version" in words:
        print(f"earshot {shards.__version__}")
        raise SystemExit(0)


def one_of(choices: Registry[Any]) -> Any:
    """Annotates an option's type, as in `Annotated[str, one_of(LOSSES)]`, so that `--help` lists the choices."""
    import tyro

    return tyro.conf.arg(metavar=choices.metavar)


def called(name: str) -> Any:
    """Annotates an option whose name on the command line differs from its field's."""
    import tyro

    return tyro.conf.arg(name=name)


def positional() -> Any:
    """Annotates an option whose value is given without its name."""
    import tyro

    return tyro.conf.Positional


def hidden() -> Any:
    """Annotates a field that is no option of this command."""
    import tyro

    return tyro.conf.Suppress


def shown_as(metavar: str) -> Any:
    """Annotates an option whose value `--help` shows in its own words."""
    import tyro

    return tyro.conf.arg(metavar=metavar)


def repeatable() -> Any:
    """Annotates a `tuple[tuple[str, ...], ...]`: the option may be given several times, with several values each."""
    import tyro

    return tyro.conf.UseAppendAction
