"""Rules of settings: they are declared on the fields and checked by one function after parsing.

A rule on one setting is pydantic's `Field` in its type: `margin: Positive = 1.0`, or
`crop_max: Annotated[float, Field(gt=0, le=1, description="1 is the whole image")] = 0.75`, whose description the
message adds as the reason. Other rules are a `Rule`. A setting that takes a name from a registry is
`Annotated[str, OneOf(LOSSES)]`. Rules between settings go into a method `check(self)` of their dataclass, which raises
`UserError`.
"""

from __future__ import annotations

import dataclasses
import operator
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field
from pydantic.fields import FieldInfo
from tyro.constructors import PrimitiveConstructorSpec

from shards.errors import UserError
from shards.registry import Registry

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]

LARGEST = 1e9
"""Of numbers in settings: far more than any makes sense, and far less than where 32-bit arithmetic overflows."""

COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    Gt: operator.gt,
    Ge: operator.ge,
    Lt: operator.lt,
    Le: operator.le,
}
SIGNS: dict[type, str] = {Gt: ">", Ge: ">=", Lt: "<", Le: "<="}


@dataclass(frozen=True)
class Rule:
    """A rule that is not a bound, such as `Rule(lambda side: side == 0 or side >= 32, "0 or >= 32 pixels")`.

    Attributes:
        holds: whether a value satisfies it.
        words: the rule in words, to follow "must be".
    """

    holds: Callable[[Any], bool]
    words: str


class OneOf(PrimitiveConstructorSpec[str]):
    """Annotation of a setting that takes a name from a registry: `--help` lists the names, and the value is checked.

    Args:
        registry: the choices.
        others: further values, such as "auto".
    """

    def __init__(self, registry: Registry[Any], *others: str) -> None:
        super().__init__(
            nargs=1,
            metavar="|".join([*others, registry.metavar]),
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: isinstance(value, str),
            str_from_instance=lambda value: [value],
        )
        self.registry = registry
        self.others = others

    def check(self, value: str, setting: str) -> None:
        """Rejects unknown names.

        Raises:
            UserError: names the setting, the value, the nearest name and the choices.
        """
        if value not in self.others:
            self.registry.check(value, setting=setting)


def check_rules(settings: Any) -> None:
    """Checks the rules on all fields, then the rules between settings, inner groups first.

    Args:
        settings: nested dataclasses.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    for name, value, metadata in _settings_with_metadata(settings):
        if isinstance(value, float) and abs(value) > LARGEST:
            raise UserError(f"{name} must be at most {LARGEST:g} in size, got {value:g}")
        for rule in metadata:
            if isinstance(rule, OneOf):
                rule.check(value, name)
            elif value is not None and not _holds(rule, value):
                raise UserError(f"{name} must be {_words(rule)}, got {value}")
    _check_between(settings)


def _check_between(settings: Any) -> None:
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            _check_between(value)
    if hasattr(settings, "check"):
        settings.check()


def _settings_with_metadata(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Dotted name, value and type annotations of every setting."""
    for name, metadata in _metadata(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            yield from _settings_with_metadata(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, metadata


def _metadata(kind: Any) -> dict[str, tuple[Any, ...]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: tuple(_annotations(hints[field.name])) for field in dataclasses.fields(kind)}


def _annotations(hint: Any) -> Iterator[Any]:
    """Metadata of `Annotated` in a type, or in the members of a union such as `Positive | None`."""
    if typing.get_origin(hint) is Annotated:
        yield from hint.__metadata__
    elif typing.get_origin(hint) is not None:
        for member in typing.get_args(hint):
            yield from _annotations(member)


def _holds(rule: Any, value: Any) -> bool:
    if isinstance(rule, Rule):
        return rule.holds(value)
    bounds = rule.metadata if isinstance(rule, FieldInfo) else ()
    # Compared this way round, NaN satisfies no bound.
    return all(COMPARISONS[type(bound)](value, _limit(bound)) for bound in bounds)


def _limit(bound: Any) -> float:
    (limit,) = dataclasses.asdict(bound).values()
    return float(limit) if isinstance(limit, float) else int(limit)


def _words(rule: Rule | FieldInfo) -> str:
    """Such as "> 0", "in (0, 1]", or ">= 2 (a pair needs another pair as its negative)"."""
    if isinstance(rule, Rule):
        return rule.words
    limits = {type(bound): _limit(bound) for bound in rule.metadata}
    lower = next((kind for kind in (Gt, Ge) if kind in limits), None)
    upper = next((kind for kind in (Lt, Le) if kind in limits), None)
    if lower and upper:
        opening, closing = "(" if lower is Gt else "[", ")" if upper is Lt else "]"
        words = f"in {opening}{limits[lower]}, {limits[upper]}{closing}"
    else:
        words = " ".join(f"{SIGNS[kind]} {limit}" for kind, limit in limits.items())
    return f"{words} ({rule.description})" if rule.description else words
