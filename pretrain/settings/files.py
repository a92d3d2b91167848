"""Settings as plain values: by dotted name, to and from YAML, with sentences for what is wrong in them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from shards.atomic_files import write_text_atomically
from shards.errors import UserError

Settings = TypeVar("Settings")


def flatten(settings: Any) -> dict[str, Any]:
    """Settings, a dataclass of values and of dataclasses, as one flat dict from dotted names to plain values."""

    def walk(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, dict):
                flat |= walk(f"{prefix}{name}.", value)
            else:
                flat[f"{prefix}{name}"] = str(value) if isinstance(value, Path) else value
        return flat

    return walk("", dataclasses.asdict(settings))


def require(settings: Any, name: str, holds: Callable[[Any], bool], rule: str) -> None:
    """Checks one rule on the setting of a dotted name.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    value = settings
    for part in name.split("."):
        value = getattr(value, part)
    if not holds(value):
        raise UserError(f"{name} must be {rule}, got {value}")


def save_settings(settings: Any, path: Path) -> None:
    """Writes all settings, resolved, as YAML: the whole file or none of it."""
    record = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    write_text_atomically(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def load_settings(kind: type[Settings], path: Path) -> Settings:
    """Reads settings of one kind from YAML; those not named keep their defaults.

    Raises:
        UserError: no such file, not YAML, an unknown setting (with the nearest known name), or a wrong type.
    """
    if not path.is_file():
        raise UserError(f"no settings at {path}: no such file")
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not record:
            raise UserError(f"{path} must hold lines of `setting: value`, it holds none; restore it or name another")
        return TypeAdapter(kind).validate_python(record)
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} can't be read as UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_first_fault(kind, error)}") from error


def _first_fault(kind: type, error: ValidationError) -> str:
    fault = error.errors()[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = list(flatten(kind())) + [field.name for field in dataclasses.fields(kind)]
        near = difflib.get_close_matches(name, known, n=1)
        return f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{name}: {message}, got {fault['input']!r}" if name else message


def refuse_changes_on_resume(saved: Any, wanted: Any, changeable: Iterable[str]) -> None:
    """Refuses to resume a run under other settings than it began with.

    Raises:
        UserError: names the first changed setting that is not `changeable`.
    """
    before, after = flatten(saved), flatten(wanted)
    for name, value in after.items():
        if before[name] != value and name not in changeable:
            allowed = ", ".join(sorted(changeable))
            raise UserError(
                f"{name} is {before[name]} in the run that is resumed and can't become {value}; "
                f"with --resume only these may change: {allowed}"
            )


def with_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy of settings in which those of some dotted names have new values, their types checked.

    Args:
        settings: a dataclass of values and of dataclasses.
        changes: new values by dotted name, such as {"loss.name": "contrastive"}.

    Raises:
        UserError: an unknown name (with the nearest known one), or a wrong type.
    """
    kind, known = type(settings), flatten(settings)
    record = TypeAdapter(kind).dump_python(settings, mode="json")
    for name, value in changes.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        *groups, last = name.split(".")
        place = record
        for group in groups:
            place = place[group]
        place[last] = value
    try:
        return TypeAdapter(kind).validate_python(record)
    except ValidationError as error:
        raise UserError(_first_fault(kind, error)) from error
