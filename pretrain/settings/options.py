"""Settings from the words of a command line."""

from __future__ import annotations

import itertools
from typing import TypeVar

from pretrain.settings.choosing import chosen_in, setting_of_others
from pretrain.settings.files import flatten, with_settings
from shards.errors import UserError

Settings = TypeVar("Settings")


def with_options(default: Settings, words: list[str], *, prog: str, description: str) -> Settings:
    """Settings as a command line changes them; `--help` shows those that what is chosen has.

    Args:
        default: what is not named stays as it is here.
        words: `--name value` or `--name=value`, of dotted names.
        prog: the command, for `--help`.
        description: of the command, for `--help`.

    Raises:
        UserError: an unknown choice, or a setting that what is chosen does not have.
        SystemExit: `--help`, or a setting that there is not or that can't be parsed (the nearest is suggested).
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
    """The settings of what `words` choose, the outermost choice first: it decides what else there is to choose."""
    given = {}
    for word, following in itertools.pairwise([*words, ""]):
        given[_setting_of(word)] = word.split("=", 1)[1] if "=" in word else following
    for prefix, chosen in chosen_in(default):
        name = f"{prefix}{chosen.choice}"
        if given.get(name, getattr(chosen, chosen.choice)) != getattr(chosen, chosen.choice):
            return _with_choices(with_settings(default, {name: given[name]}), words)
    return default


def _setting_of(word: str) -> str:
    """The dotted name of the setting that a word is the option of, "" for other words."""
    return word.removeprefix("--").split("=")[0].replace("-", "_") if word.startswith("--") else ""


def take_option(words: list[str], name: str) -> str | None:
    """Takes `--name VALUE` or `--name=VALUE` out of `words`; None where it is not there.

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
