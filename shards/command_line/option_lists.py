"""The options that a dataclass stands for on a command line: names, how many values follow, and choices."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

ANY_NUMBER = -1


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        names: as typed, such as ("--force", "--no-force").
        num_values: words that follow it; `ANY_NUMBER`: those up to the next option.
        choices: values to offer in a shell.
    """

    names: tuple[str, ...]
    num_values: int = 1
    choices: tuple[str, ...] = ()


def field_options(kind: Any, *, positional: bool = False) -> list[Option]:
    """The options of a dataclass without groups.

    Args:
        kind: the dataclass.
        positional: whether fields without a default are given without a name.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    options = []
    for field in dataclasses.fields(kind):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        notes = getattr(hints[field.name], "__metadata__", ())
        if not field.init or (positional and not has_default) or any(map(_is_unnamed, notes)):
            continue
        name = next((note.name for note in notes if getattr(note, "name", None)), field.name)
        options.append(option_of(name, hints[field.name]))
    return options


def option_of(name: str, hint: Any) -> Option:
    """The option of a field.

    Args:
        name: of the field, dotted if it is in a group.
        hint: its type, which may be Annotated.
    """
    name, notes = name.replace("_", "-"), getattr(hint, "__metadata__", ())
    plain = typing.get_args(hint)[0] if notes else hint
    if plain is bool:
        group, dot, last = name.rpartition(".")
        return Option((f"--{name}", f"--{group}{dot}no-{last}"), 0)
    members = typing.get_args(plain) if typing.get_origin(plain) in (typing.Union, types.UnionType) else (plain,)
    choices = [choice for note in notes for choice in _choices(note)]
    choices += [
        str(value)
        for member in members
        if typing.get_origin(member) is typing.Literal
        for value in typing.get_args(member)
    ]
    sizes = [_num_values(member) for member in members if member is not type(None)]
    return Option((f"--{name}",), max(sizes, key=lambda size: (size == ANY_NUMBER, size)), tuple(choices))


def _num_values(hint: Any) -> int:
    if typing.get_origin(hint) is not tuple:
        return 1
    return ANY_NUMBER if Ellipsis in typing.get_args(hint) else len(typing.get_args(hint))


def _choices(note: Any) -> list[str]:
    """Names that an annotation of the type lists, as in "cpu|cuda|module:object"."""
    words = str(getattr(note, "metavar", None) or "").split("|")
    return [word for word in words if len(words) > 1 and ":" not in word and word.islower()]


def _is_unnamed(note: Any) -> bool:
    """Whether an annotation makes a field hidden or positional (tyro's markers, by name: tyro is not imported here)."""
    return str(note) in ("Suppress", "Positional") or getattr(note, "name", None) == ""
