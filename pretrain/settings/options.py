"""Options that are taken off a command line before its settings are read."""

from __future__ import annotations

from shards.errors import UserError


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
