"""Settings from a command line."""

from __future__ import annotations

import itertools
from typing import TypeVar

from pretrain.settings.choosing import chosen_in, setting_of_others
from pretrain.settings.files import flatten, with_settings
from shards.errors import UserError

Settings = TypeVar("Settings")


def with_options(default: Settings, words: list[str], *, prog: str, description: str) -> Settings:
    """Applies a command line to settings; `--help` shows those of the choices made.

    Args:
        default: values of settings that are not named.
        words: `--name value` or `--name=value`, with dotted names.
        prog: the command, for `--help`.
        description: of the command, for `--help`.

    Raises:
        UserError: an unknown choice, or a setting that the choice does not have.
        SystemExit: `--help`, or an unknown setting (the nearest is suggested), or a value that can't be parsed.
    """
    import tyro

    default = _with_choices(default, words)
    known = flatten(default)
    for name in map(_setting_of, words):
        sentence = setting_of_others(default, name) if name and name not in known else None
        if sentence:
            raise UserError(sentence)
    return tyro.cli(type(default), args=words, default=default, prog=prog, description=description)


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
