"""Command lines: verbs, their options, `--help`, `--version`, `--quiet` and `--dry-run`, alike for every command."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any, Protocol, TypeVar

import shards
from shards.command_line.option_lists import Option, field_options
from shards.command_line.short_names import SHORT_NAMES, describe, expand
from shards.command_names import as_typed
from shards.errors import UserError
from shards.loading import Loading
from shards.registry import Registry, nearest

Options = TypeVar("Options")

HELP = ("-h", "--help")
DRY_RUN = "--dry-run"
EVERYWHERE = "On every command: -q, --quiet: results, warnings and errors alone; -v, --verbose: more; --version."
EVERYWHERE_DRY = f"{EVERYWHERE[:-1]}; {DRY_RUN}: make all checks, print what would be done, and write nothing."


class Command(Protocol):
    """What a word of a command line stands for: a verb, a program with a parser of its own, or a group of verbs."""

    @property
    def description(self) -> str:
        """The text that `--help` shows."""

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Runs it: `words` are what follows, `command` what was typed before, for messages."""

    def options(self) -> list[Option]:
        """Its options, for completion in a shell."""


@dataclass(frozen=True)
class Verb:
    """A verb of a command.

    Attributes:
        settings: `module:Dataclass` of its options. `--help` imports it, so keep that module's imports light. If the
            dataclass has a method `check`, it is called before anything heavy is imported.
        run: `module:function` that is called with the options; imported only then.
        positional: whether options without a default are positional arguments.
        dry_run: `module:function` that is called instead of `run` with `--dry-run`; "": it has no dry run.
    """

    settings: str
    run: str
    positional: bool = False
    dry_run: str = ""

    @property
    def description(self) -> str:
        """The text that `--help` shows."""
        return str(resolve_name(self.settings).__doc__)

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Parses the options in `words` and runs the verb, or prints what it would do.

        Args:
            words: the command line after the verb.
            command: the command line up to and including the verb, for messages.

        Raises:
            UserError: an option has an invalid value.
            SystemExit: `--help`, or an unknown option or one that can't be parsed (the nearest is suggested).
        """
        with Loading():
            words, known = list(words), [name for option in self.options() for name in option.names]
            # A verb whose own options have a dry run carries it out itself.
            dry = take_flag(words, DRY_RUN) if self.dry_run or DRY_RUN not in known else False
            if dry and not self.dry_run:
                raise UserError(f"{DRY_RUN} is not possible with {command}; omit it")
            kind = resolve_name(self.settings)
            options = parse_options(
                kind,
                expand(words, SHORT_NAMES, known),
                command,
                positional=self.positional,
                description=with_notes(self.description, SHORT_NAMES, known, has_dry_run=bool(self.dry_run)),
            )
            if hasattr(options, "check"):
                options.check()
            run = resolve_name(self.dry_run if dry else self.run)
        run(options)

    def options(self) -> list[Option]:
        """Its options, for completion in a shell."""
        dry = [Option((DRY_RUN,), 0)] if self.dry_run else []
        return [*field_options(resolve_name(self.settings), positional=self.positional), *dry]


@dataclass(frozen=True)
class Program:
    """A command that parses its own words.

    Attributes:
        description: the text that `--help` of a group of verbs shows.
        main: `module:function` from words and the command typed; imported only when it runs. It parses its words and
            imports what it needs in `with Loading()`, so that Ctrl-C ends it at once until its work begins.
        choices: `module:function` that lists its options for completion.
        positional: `module:OBJECT`, names that may be given without an option, such as presets or plans; "": none.
    """

    description: str
    main: str
    choices: str
    positional: str = ""

    def carry_out(self, words: Sequence[str], command: str) -> None:
        """Runs it: `words` are what follows, `command` what was typed before, for messages."""
        with Loading():
            main = resolve_name(self.main)
        main(list(words), command)

    def options(self) -> list[Option]:
        """Its options, for completion in a shell."""
        options: list[Option] = resolve_name(self.choices)()
        return options


@dataclass(frozen=True)
class Verbs:
    """A command, or a verb with verbs of its own.

    Attributes:
        description: the text that `--help` shows.
        verbs: the verbs by name.
        default: what runs if the first word is no verb; None: a verb must be given.
        sections: headings of `--help` and the verbs under each; none: all verbs under one.
    """

    description: str
    verbs: Mapping[str, Command]
    default: Command | None = None
    sections: Mapping[str, Sequence[str]] = field(default_factory=dict)

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
        if verb in self.verbs:
            self.verbs[verb].carry_out(rest, f"{command} {verb}")
            return
        if self.default is not None:
            self.default.carry_out(words, command)
            return
        if verb in HELP:
            print(self._help(command))
            raise SystemExit(0)
        if not verb or verb.startswith("-"):
            got = f", got {verb}" if verb else ""
            raise UserError(f"{command} needs a verb first{got}; choose one of: {', '.join(self.verbs)}")
        raise UserError(
            f"unknown verb {verb!r} of {command}; {nearest(verb, self.verbs)}choose one of: {', '.join(self.verbs)}"
        )

    def options(self) -> list[Option]:
        """The options of the command that runs without a verb, for completion in a shell."""
        return self.default.options() if self.default is not None else []

    def _help(self, command: str) -> str:
        width = max(map(len, self.verbs)) + 4
        choice = "VERB" if self.sections else f"{{{','.join(self.verbs)}}}"
        lines = [f"usage: {command} [-h] [--version] {choice} …", "", self.description]
        for title, names in (self.sections or {"verbs": tuple(self.verbs)}).items():
            lines += ["", f"{title}:"]
            for name in names:
                lines += textwrap.wrap(
                    _first_sentence(self.verbs[name].description),
                    width=100,
                    initial_indent=f"  {name}".ljust(width),
                    subsequent_indent=" " * width,
                )
        return "\n".join([*lines, "", f"The options of a verb: {command} VERB --help", EVERYWHERE])


def _first_sentence(description: str) -> str:
    """The first sentence of a docstring, with commands as the user types them."""
    paragraph = " ".join(description.strip().split("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return as_typed(sentence + stop.strip())


def take_flag(words: list[str], name: str) -> bool:
    """Removes a word such as `--print-config`; whether it was there."""
    if name not in words:
        return False
    words[:] = [word for word in words if word != name]
    return True


def with_notes(description: str, table: Mapping[str, Sequence[str]], known: Sequence[str], *, has_dry_run: bool) -> str:
    """The text of `--help`, with the short names of the command's options and the options of every command."""
    names = describe(table, known)
    every = EVERYWHERE_DRY if has_dry_run else EVERYWHERE
    description = as_typed(description)
    return "\n\n".join([textwrap.dedent(description).strip(), *([names] if names else []), every])


def parse_options(
    kind: type[Options], words: Sequence[str], command: str, *, positional: bool = False, description: str | None = None
) -> Options:
    """Parses a dataclass of options with tyro; `--help` shows the description, by default its docstring.

    Raises:
        SystemExit: `--help` or `--version`, or an unknown option or one that can't be parsed (the nearest is
            suggested).
    """
    answer_version(words)
    import tyro

    config = (tyro.conf.PositionalRequiredArgs,) if positional else ()
    return tyro.cli(kind, args=list(words), prog=command, config=config, description=description)


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
