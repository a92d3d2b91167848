"""Settings from a command line."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from pretrain.settings.choosing import Chosen, chosen_in, setting_of_others
from pretrain.settings.files import flatten, with_settings
from pretrain.settings.short_names import TRAINING_NAMES
from shards.command_line.option_lists import ANY_NUMBER, Option, option_of
from shards.command_line.short_names import expand
from shards.command_line.verbs import DRY_RUN, answer_version, with_notes
from shards.errors import UserError

Settings = TypeVar("Settings")


def with_options(
    default: Settings, words: list[str], *, prog: str, description: str, known: Collection[Option] = ()
) -> Settings:
    """Applies a command line to settings; `--help` shows those of the choices made.

    Args:
        default: values of settings that are not named.
        words: `--name value` or `--name=value`, with dotted names.
        prog: the command, for `--help`.
        description: of the command, for `--help`.
        known: the options whose short names `--help` lists.

    Raises:
        UserError: an unknown choice, or a setting that the choice does not have.
        SystemExit: `--help` or `--version`, or an unknown setting (the nearest is suggested), or a value that can't be
            parsed.
    """
    answer_version(words)
    import tyro

    default = _with_choices(default, words)
    in_use = flatten(default)
    for name in map(_setting_of, words):
        sentence = setting_of_others(default, name) if name and name not in in_use else None
        if sentence:
            raise UserError(sentence)
    names = [name for option in known for name in option.names]
    description = with_notes(description, TRAINING_NAMES, names, has_dry_run=True)
    return tyro.cli(type(default), args=words, default=default, prog=prog, description=description)


def setting_options(kinds: Collection[Any]) -> list[Option]:
    """The options of all settings of some dataclasses, whatever choices are made in their groups."""
    options = {option.names[0]: option for kind in kinds for option in _options_of(kind, "")}
    return list(options.values())


def _options_of(kind: Any, prefix: str) -> Iterator[Option]:
    plain, hints = typing.get_type_hints(kind), typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        hint = plain[field.name]
        if not dataclasses.is_dataclass(hint):
            yield option_of(f"{prefix}{field.name}", hints[field.name])
            continue
        members = [hint]
        if issubclass(hint, Chosen):  # type: ignore[arg-type]
            members = [hint.choices()[choice] for choice in hint.choices()]  # type: ignore[union-attr]
        for member in members:
            yield from _options_of(member, f"{prefix}{field.name}.")


def full_words(words: list[str], known: Collection[Option]) -> list[str]:
    """The words of a command line with full names of settings in place of short ones, such as `--lr`."""
    return expand(words, TRAINING_NAMES, [name for option in known for name in option.names])


def take_bare_words(words: list[str], known: Collection[Option]) -> list[str]:
    """Removes and returns the words that are neither options nor values of options, such as a preset.

    Args:
        words: the command line, with full names.
        known: its options; one that is not among them is assumed to take one value.
    """
    sizes = {name: option.num_values for option in known for name in option.names} | {DRY_RUN: 0, "--help": 0, "-h": 0}
    bare, others = [], []
    waiting = 0
    for word in words:
        is_option = word.startswith("-") and not _is_number(word)
        if is_option:
            name, equals, _ = word.partition("=")
            waiting = 0 if equals else sizes.get(name.replace("_", "-"), 1)
        elif waiting == 0:
            bare.append(word)
            continue
        elif waiting != ANY_NUMBER:
            # "None" takes the place of all values of an option.
            waiting = 0 if word == "None" else waiting - 1
        others.append(word)
    words[:] = others
    return bare


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def names_given(words: Collection[str]) -> list[str]:
    """The dotted names of the settings given as options, such as "transfer.loss"."""
    options = (word.removeprefix("--").partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return [name for option in options for name in (option, _positive(option))]


def _positive(option: str) -> str:
    """`transfer.no_with_scene_loss` sets `transfer.with_scene_loss`."""
    group, dot, name = option.rpartition(".")
    return f"{group}{dot}{name.removeprefix('no_')}"


def _with_choices(default: Settings, words: list[str]) -> Settings:
    """Settings of the choices in `words`, outermost first, since it decides which others exist."""
    given = {}
    for word, following in itertools.pairwise([*words, ""]):
        given[_setting_of(word)] = word.split("=", 1)[1] if "=" in word else following
    for prefix, chosen in chosen_in(default):
        name = f"{prefix}{chosen.choice}"
        if given.get(name, getattr(chosen, chosen.choice)) != getattr(chosen, chosen.choice):
            return _with_choices(with_settings(default, {name: given[name]}), words)
    return default


def _setting_of(word: str) -> str:
    """Dotted name of the setting that a word sets, "" for other words."""
    return word.removeprefix("--").split("=")[0].replace("-", "_") if word.startswith("--") else ""


def take_option(words: list[str], name: str) -> str | None:
    """Removes `--name VALUE` or `--name=VALUE` from `words` and returns the value, None if absent.

    Raises:
        UserError: no value follows.
    """
    for i, word in enumerate(words):
        if word == name:
            if i + 1 == len(words):
                raise UserError(f"{name} needs a value")
            value = words[i + 1]
            del words[i : i + 2]
            return value
        if word.startswith(f"{name}="):
            del words[i]
            return word.split("=", 1)[1]
    return None
