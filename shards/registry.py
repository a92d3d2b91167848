"""Registries of named choices: imported on use, listed without imports, and extensible with outside code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar

from shards.errors import UserError

T = TypeVar("T")

PLUGINS_VARIABLE = "EARSHOT_PLUGINS"
"""Environment variable listing the outside objects (`module:object`, comma-separated) that model folders may use."""


class Registry(Generic[T]):
    """The choices of one setting, by name. To add one, write the object in a file of its own and add a line here.

    Names map to `module:object` strings, so that `--help` and a mistyped name import none of the choices. Where outside
    code is accepted, users may give a `module:object` of their own instead of a name, without editing Earshot.

    Args:
        setting: the setting, such as "loss.name", for messages.
        entries: maps names to `module:object`.
        families: maps prefixes to `module:object`: with the prefix `timm`, the name `timm:vit_tiny_patch16_224` calls
            that object with "vit_tiny_patch16_224".
        takes_outside_code: whether users may give a `module:object`.
        subclass_of: `module:Class` that outside code must be a subclass of.
        instance_of: `module:Class` that outside code must be an instance of.
    """

    def __init__(
        self,
        setting: str,
        entries: Mapping[str, str],
        *,
        families: Mapping[str, str] | None = None,
        takes_outside_code: bool = False,
        subclass_of: str = "",
        instance_of: str = "",
    ) -> None:
        self.setting = setting
        self._entries = dict(entries)
        self._families = dict(families or {})
        self._takes_outside_code = takes_outside_code
        self._subclass_of = subclass_of
        self._instance_of = instance_of
        self._allowed: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> T:
        return self.load(name)

    def choices(self) -> str:
        """The names and any further accepted forms, for `--help` and messages."""
        forms = [f"{prefix}:NAME" for prefix in self._families]
        if self._takes_outside_code:
            forms.append("module:object of your own")
        listed = ", ".join(sorted(self._entries))
        return f"{listed}; or {' or '.join(forms)}" if forms else listed

    @property
    def metavar(self) -> str:
        """A short form of `choices`, shown by `--help` as the value of an option."""
        forms = [f"{prefix}:NAME" for prefix in self._families]
        own = ["module:object"] if self._takes_outside_code else []
        return "|".join([*sorted(self._entries), *forms, *own])

    def check(self, name: str, *, setting: str | None = None) -> None:
        """Rejects an unknown name, without importing registered objects.

        Raises:
            UserError: names the setting, the value, the nearest name and the choices.
        """
        if name in self._entries or self._family_of(name):
            return
        setting = setting or self.setting
        if self._takes_outside_code and ":" in name:
            self._check_type(_import(name, setting), f"{setting} {name}")
            return
        raise UserError(f"unknown {setting} {name!r}; {nearest(name, self._entries)}choose one of: {self.choices()}")

    def load(self, name: str, *, setting: str | None = None) -> T:
        """Imports and returns the object with this name.

        Raises:
            UserError: as `check`, or the object can't be imported.
        """
        self.check(name, setting=setting)
        prefix = self._family_of(name)
        if prefix:
            family = _import(self._families[prefix], setting or self.setting)
            loaded: T = partial(family, name.removeprefix(f"{prefix}:"))  # type: ignore[assignment]
            return loaded
        registered: T = _import(self._entries.get(name, name), setting or self.setting)
        return registered

    def is_of_family(self, name: str) -> bool:
        """Whether a name has the prefix of a family."""
        return self._family_of(name) is not None

    def is_outside_code(self, name: str) -> bool:
        """Whether a name is a `module:object` from outside Earshot."""
        return name not in self._entries and not self._family_of(name)

    def allow(self, name: str) -> None:
        """Allows model folders to use this `module:object`; they may come from others, so the user must consent.

        Raises:
            UserError: it can't be imported.
        """
        self.check(name)
        self._allowed.add(name)

    def check_allowed(self, name: str, where: str) -> None:
        """Rejects a name from a model folder unless it is registered or was allowed.

        Args:
            name: the name in the folder's config.
            where: the folder, for the message.

        Raises:
            UserError: the name is not allowed; the message says how to allow it.
        """
        by_variable = {part.strip() for part in os.environ.get(PLUGINS_VARIABLE, "").split(",")}
        if not self.is_outside_code(name) or name in self._allowed | by_variable:
            return
        raise UserError(
            f"{where} uses the {self.setting} {name}, which is not part of Earshot; if you trust that code, install "
            f"it and set {PLUGINS_VARIABLE}={name}; built-in choices: {self.choices()}"
        )

    def _check_type(self, found: Any, what: str) -> None:
        """Rejects outside code that is not what its users expect."""
        base, relation, fits = self._subclass_of, "a subclass", True
        if base:
            fits = isinstance(found, type) and issubclass(found, resolve_name(base))
        elif base := self._instance_of:
            relation, fits = "an instance", isinstance(found, resolve_name(base))
        if not fits:
            raise UserError(f"{what} must be {relation} of {base.replace(':', '.')}, got {found!r}")
        if undefined := getattr(found, "__abstractmethods__", ()):
            raise UserError(f"{what} must define {', '.join(sorted(undefined))}, as {base.replace(':', '.')} says")

    def _family_of(self, name: str) -> str | None:
        prefix, separator, rest = name.partition(":")
        return prefix if separator and rest and prefix in self._families else None


def choose(name: str, known: Iterable[str], kind: str) -> str:
    """`name`, if it is known.

    Raises:
        UserError: names the kind and the value, the nearest known name and all the choices.
    """
    choices = sorted(known)
    if name in choices:
        return name
    raise UserError(f"unknown {kind} {name!r}; {nearest(name, choices)}choose one of: {', '.join(choices)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? `, or an empty string if no known name is similar."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _import(name: str, setting: str) -> Any:
    """Imports `module:object`; the working directory is searched too, as with `python -m`."""
    module_name, _, object_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"{setting} {name}: {error}; install it, or run from the folder that contains it") from error
    except ValueError as error:
        raise UserError(f"{setting} {name} must be module:object, such as my_package.my_module:build") from error
    found: Any = module
    for part in object_name.split("."):
        if not hasattr(found, part):
            raise UserError(f"{setting} {name}: {module_name} has no {object_name!r}; name an object it defines")
        found = getattr(found, part)
    return found
