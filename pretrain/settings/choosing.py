"""Settings that depend on a choice: each choice declares its own, and others are rejected.

The method decides which settings a run has, the loss which settings the group `loss` has. Command lines, YAML files
and plans all use this module, so all of them reject a setting that the choice does not have with the same message.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any, ClassVar, Self

from shards.errors import UserError
from shards.registry import Registry


class Chosen:
    """Base of a family of settings dataclasses, one per choice.

    Where the base of the family is declared, the member that was chosen is built. Members add the fields of their
    choice to those of the base; every field has a default.
    """

    choice: ClassVar[str]
    """Name of the field that holds the choice."""
    registry: ClassVar[str]
    """`module:OBJECT` of the registry of the family's members; only the family's base sets it."""

    @classmethod
    def choices(cls) -> Registry[type[Self]]:
        """The members of the family, by name."""
        registry: Registry[type[Self]] = resolve_name(cls.registry)
        return registry

    @classmethod
    def is_of_all_choices(cls, record: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """Whether a file, written by an earlier version, holds the settings of every choice; those of others are
        ignored."""
        return False


def family_of(kind: type[Chosen]) -> type[Chosen]:
    """Returns the base of a member's family."""
    return next(base for base in kind.__mro__ if "registry" in vars(base))


def kind_of(kind: type[Chosen], name: Any, setting: str) -> type[Any]:
    """Returns the settings class of a choice.

    Args:
        kind: the family's base, or any member.
        name: of the choice.
        setting: name of the setting, for messages.

    Raises:
        UserError: an unknown name, or outside code that is not a settings class.
    """
    if not isinstance(name, str):
        raise UserError(f"{setting} must be a name, got {name!r}; choose one of: {kind.choices().choices()}")
    return kind.choices().load(name, setting=setting)


def plain_hints(kind: Any) -> dict[str, Any]:
    """Types of the fields of a dataclass, without their rules."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def names_of(kind: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings of a dataclass, for any choice of its groups."""
    for name, hint in plain_hints(kind).items():
        if not dataclasses.is_dataclass(hint):
            yield f"{prefix}{name}"
            continue
        members = [hint]
        if issubclass(hint, Chosen):  # type: ignore[arg-type]
            members = [hint.choices()[choice] for choice in hint.choices()]  # type: ignore[union-attr]
        for member in members:
            yield from names_of(member, f"{prefix}{name}.")


def chosen_in(settings: Any, prefix: str = "") -> Iterator[tuple[str, Chosen]]:
    """All parts of `settings` that depend on a choice, with the prefix of their names, outermost first."""
    if isinstance(settings, Chosen):
        yield prefix, settings
    for name in plain_hints(type(settings)):
        if dataclasses.is_dataclass(value := getattr(settings, name)):
            yield from chosen_in(value, f"{prefix}{name}.")


def setting_of_others(settings: Any, name: str) -> str | None:
    """Message that rejects a setting which only other choices have.

    Args:
        settings: a dataclass of values and of dataclasses.
        name: dotted name of a setting that is not among them.

    Returns:
        None if no other choice has it either.
    """
    for prefix, chosen in reversed(list(chosen_in(settings))):
        if not name.startswith(prefix):
            continue
        registry, own_name = chosen.choices(), name.removeprefix(prefix)
        owners = [choice for choice in registry if own_name in names_of(registry[choice])]
        if owners:
            has = f"{' and '.join(owners)} {'have' if len(owners) > 1 else 'has'}"
            setting = f"{prefix}{chosen.choice} {getattr(chosen, chosen.choice)}"
            return f"{setting} has no setting {name}, which {has}; it takes {_own_settings(chosen, prefix)}"
    return None


def _own_settings(chosen: Chosen, prefix: str) -> str:
    hints, shared = plain_hints(type(chosen)), plain_hints(family_of(type(chosen)))
    own = [
        f"{prefix}{name}{'.*' if dataclasses.is_dataclass(hints[name]) else ''}" for name in hints if name not in shared
    ]
    return ", ".join(own) or "none of its own"
