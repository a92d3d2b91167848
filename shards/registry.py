"""Choices by name: imported when they are used, listed without importing, and open to code from outside."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from shards.errors import UserError

T = TypeVar("T")

PLUGINS_VARIABLE = "EARSHOT_PLUGINS"
"""Environment variable with the outside objects, `module:object` separated by commas, that model folders may name."""


class Registry(Generic[T]):
    """The choices of one setting, by name. To add one: a file for the object, and a line here.

    Every name stands for `module:object`, so that `--help` and a mistyped name import nothing of what is listed. A user
    may give such a `module:object` of their own in place of a name, without editing Earshot.

    Args:
        setting: the setting whose choices these are, for messages, such as "loss.name".
        entries: from names to `module:object`.
        families: from prefixes to `module:object`: under the prefix `timm` the name `timm:vit_tiny_patch16_224` is
            that object called with "vit_tiny_patch16_224".
        takes_outside_code: whether `module:object` may be given.
    """

    def __init__(
        self,
        setting: str,
        entries: Mapping[str, str],
        *,
        families: Mapping[str, str] | None = None,
        takes_outside_code: bool = False,
    ) -> None:
        self.setting = setting
        self._entries = dict(entries)
        self._families = dict(families or {})
        self._takes_outside_code = takes_outside_code
        self._allowed: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> T:
        return self.load(name)

    def choices(self) -> str:
        """The names, for `--help` and messages, and the forms that names may have beside them."""
        forms = [f"{prefix}:NAME" for prefix in self._families]
        if self._takes_outside_code:
            forms.append("module:object of your own")
        listed = ", ".join(sorted(self._entries))
        return f"{listed}; or {' or '.join(forms)}" if forms else listed

    @property
    def metavar(self) -> str:
        """The same in few characters, for where `--help` shows the value of an option."""
        forms = [f"{prefix}:NAME" for prefix in self._families]
        own = ["module:object"] if self._takes_outside_code else []
        return "|".join([*sorted(self._entries), *forms, *own])

    def check(self, name: str, *, setting: str | None = None) -> None:
        """Refuses a name that stands for nothing; what is registered is not imported for it.

        Raises:
            UserError: names the setting, the value, the nearest name and the choices.
        """
        if name in self._entries or self._family_of(name):
            return
        setting = setting or self.setting
        if self._takes_outside_code and ":" in name:
            _import(name, setting)
            return
        raise UserError(f"unknown {setting} {name!r}; {nearest(name, self._entries)}choose one of: {self.choices()}")

    def load(self, name: str, *, setting: str | None = None) -> T:
        """The object that a name stands for.

        Raises:
            UserError: as `check`, or the object of a `module:object` can't be imported.
        """
        self.check(name, setting=setting)
        prefix = self._family_of(name)
        if prefix:
            family = _import(self._families[prefix], setting or self.setting)
            loaded: T = partial(family, name.removeprefix(f"{prefix}:"))  # type: ignore[assignment]
            return loaded
        registered: T = _import(self._entries.get(name, name), setting or self.setting)
        return registered

    def is_outside_code(self, name: str) -> bool:
        """Whether a name is a `module:object` that is no part of Earshot."""
        return name not in self._entries and not self._family_of(name)

    def allow(self, name: str) -> None:
        """Lets model folders name this `module:object`: they come from others, and code runs only on its user's word.

        Raises:
            UserError: it can't be imported.
        """
        self.check(name)
        self._allowed.add(name)

    def check_allowed(self, name: str, where: str) -> None:
        """Refuses what a model folder names unless it is registered here or was allowed.

        Args:
            name: as the folder has it.
            where: the folder, for the message.

        Raises:
            UserError: says what to register, and how.
        """
        by_variable = {part.strip() for part in os.environ.get(PLUGINS_VARIABLE, "").split(",")}
        if not self.is_outside_code(name) or name in self._allowed | by_variable:
            return
        raise UserError(
            f"{where} has the {self.setting} {name}, which this Earshot does not know; if you trust that code, install "
            f"it and set {PLUGINS_VARIABLE}={name}; Earshot's own are: {self.choices()}"
        )

    def _family_of(self, name: str) -> str | None:
        prefix, separator, rest = name.partition(":")
        return prefix if separator and rest and prefix in self._families else None


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? `, or nothing where no known name is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _import(name: str, setting: str) -> Any:
    """The object of `module:object`; modules are also looked for in the working directory, as `python -m` does."""
    module_name, _, object_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"{setting} {name}: {error}; install it, or run where it lies") from error
    except ValueError as error:
        raise UserError(f"{setting} {name} must be module:object, such as my_package.my_module:build") from error
    found: Any = module
    for part in object_name.split("."):
        if not hasattr(found, part):
            raise UserError(f"{setting} {name}: {module_name} has no {object_name!r}; name an object that it defines")
        found = getattr(found, part)
    return found
