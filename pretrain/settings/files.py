"""Settings as plain values by dotted name, and as YAML, with messages for every mistake."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pretrain.settings.choosing import Chosen, family_of, kind_of, plain_hints, setting_of_others
from shards.atomic_files import write_text_atomically
from shards.errors import UserError
from shards.records import shown, typed
from shards.registry import nearest
from shards.yaml_text import read_yaml

Settings = TypeVar("Settings")


def flatten(settings: Any) -> dict[str, Any]:
    """Flattens settings (nested dataclasses) to a dict from dotted names to plain values."""

    return _dotted(_plain(settings))


def _dotted(record: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat |= (
            _dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {f"{prefix}{name}": value}
        )
    return flat


def _plain(value: Any) -> Any:
    """Settings as values that YAML can represent."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def save_settings(settings: Any, path: Path) -> None:
    """Writes all settings, resolved, as YAML, atomically."""
    write_text_atomically(path, settings_text(settings))


def settings_text(settings: Any) -> str:
    """All settings, resolved, as YAML, which `--config` reads."""
    return str(yaml.safe_dump(_plain(settings), sort_keys=False, allow_unicode=True))


def load_settings(kind: type[Settings], path: Path) -> Settings:
    """Reads settings from YAML; settings that are not in the file keep their defaults.

    Raises:
        UserError: as `read_record` and `settings_of`.
    """
    return settings_of(kind, read_record(path), path)


def read_record(path: Path) -> dict[str, Any]:
    """Reads a YAML file of settings.

    Raises:
        UserError: no such file, not YAML, or no settings in it.
    """
    if not path.is_file():
        raise UserError(f"no settings at {path}: no such file")
    record = read_yaml(path)
    if not isinstance(record, dict) or not record:
        raise UserError(f"{path} must hold lines of `setting: value`, it holds none; restore it or name another")
    return record


def settings_of(kind: type[Settings], record: dict[str, Any], path: Path) -> Settings:
    """Builds settings from the contents of a file; settings that are not in it keep their defaults.

    Raises:
        UserError: an unknown setting (with the nearest known name), a setting that the file's choice does not have, or
            a wrong type; names the file.
    """
    try:
        is_of_all_choices = issubclass(kind, Chosen) and kind.is_of_all_choices(record)
        return _built(kind, record, is_of_all_choices=is_of_all_choices)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def with_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Copies settings with new values for some dotted names; types are checked.

    Where a change selects another choice, such as another loss, settings that both have keep their values.

    Args:
        settings: a dataclass of values and of dataclasses.
        changes: new values by dotted name, such as {"loss.name": "contrastive"}.

    Raises:
        UserError: an unknown name (with the nearest known one), a setting that the choice does not have, or a wrong
            type.
    """
    record: dict[str, Any] = {}
    for name, value in changes.items():
        *groups, last = name.split(".")
        place = record
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return _built(type(settings), record, settings)


def refuse_changes_on_resume(saved: Any, wanted: Any, changeable: Iterable[str]) -> None:
    """Refuses to resume a run with settings that may not change.

    Raises:
        UserError: names the first changed setting that is not `changeable`.
    """
    before = flatten(saved)
    for name, value in flatten(wanted).items():
        # Settings that only the new choice has follow from the choice, which is refused by its own name.
        if name in before and before[name] != value and name not in changeable:
            allowed = ", ".join(sorted(changeable))
            raise UserError(
                f"{name} is {before[name]} in the run that is resumed and can't be changed to {value}; "
                f"with --resume only these may change: {allowed}"
            )


def _built(
    kind: type[Settings], record: Mapping[str, Any], current: Any = None, *, is_of_all_choices: bool = False
) -> Settings:
    unknown: list[str] = []
    settings: Settings = _build(kind, record, current, "", unknown)
    for name in unknown:
        sentence = setting_of_others(settings, name)
        if sentence is None:
            known = [*flatten(settings), *plain_hints(type(settings))]
            raise UserError(f"unknown setting {shown(name)}; {nearest(name, known)}".rstrip("; "))
        if not is_of_all_choices:
            raise UserError(sentence)
    return settings


def _build(declared: Any, record: Any, current: Any, prefix: str, unknown: list[str]) -> Any:
    """Builds settings from a record, then from current settings, then from defaults.

    Args:
        declared: the dataclass, or the base of a family of choices.
        record: values and nested records.
        current: settings of this kind, or of another choice of the family; None: none.
        prefix: of the dotted names.
        unknown: collects the dotted names of unknown settings.
    """
    if not isinstance(record, Mapping):
        raise UserError(f"unknown setting {shown(prefix[:-1])} with value {shown(record)}: it is a group of settings")
    kind = _kind(declared, record, current, prefix)
    hints, defaults, inherited = plain_hints(kind), _defaults(kind), _inherited(current, kind)
    unknown += (f"{prefix}{name}" for name in _dotted({name: record[name] for name in record if name not in hints}))
    values = {}
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            group = inherited.get(name, defaults.get(name))
            values[name] = _build(hint, record.get(name, {}), group, f"{prefix}{name}.", unknown)
        elif name in record:
            values[name] = typed(hint, record[name], f"{prefix}{name}")
        elif name in inherited:
            values[name] = inherited[name]
    return kind(**values)


def _kind(declared: Any, record: Mapping[Any, Any], current: Any, prefix: str) -> Any:
    if not issubclass(declared, Chosen):
        return type(current) if isinstance(current, declared) else declared
    before = current if isinstance(current, family_of(declared)) else declared
    choice = getattr(before, declared.choice)
    name = record.get(declared.choice, choice)
    is_same = name == choice and before is current
    return type(current) if is_same else kind_of(declared, name, f"{prefix}{declared.choice}")


def _defaults(kind: Any) -> dict[str, Any]:
    defaults = {}
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
        elif field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
    return defaults


def _inherited(current: Any, kind: type) -> dict[str, Any]:
    """Values to keep from current settings: all, or of another choice those that differ from its defaults."""
    if current is None:
        return {}
    values = {field.name: getattr(current, field.name) for field in dataclasses.fields(current)}
    if isinstance(current, kind):
        return values
    defaults = _defaults(type(current))
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
