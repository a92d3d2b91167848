"""The table of OpenStreetMap tags and classes: which class an object stands for, and how near it must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.geography.shapes import Shape
from shards.records import as_number, shortened, shown
from shards.yaml_text import read_yaml, yaml_of

MOST_METRES = 5_000
MOST_RULES = 500
CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,59}")
"""It becomes a folder."""

_TEST = re.compile(r"([^\s=!&][^=!&]*?)\s*(=|!=)\s*([^=&]+)")
ENTRY_NAMES = {"class", "within_metres", "tags"}


@dataclass(frozen=True)
class TagTest:
    """A test of one tag.

    Attributes:
        key: of the tag.
        value: that it must have, or must not have; "*": any.
        is_negated: whether the tag must be missing or have another value.
    """

    key: str
    value: str
    is_negated: bool = False

    def holds(self, tags: Mapping[str, str]) -> bool:
        """Whether an object's tags pass."""
        found = tags.get(self.key)
        matches = found is not None and self.value in ("*", found)
        return matches != self.is_negated

    def __str__(self) -> str:
        return f"{self.key}{'!=' if self.is_negated else '='}{self.value}"


Line = tuple[TagTest, ...]
"""Tests that an object must all pass; at least one of them is not negated."""


@dataclass(frozen=True)
class LabelRule:
    """An entry of the table.

    Attributes:
        class_name: the class.
        within_metres: 0: the place must lie inside the object's area; else how far away it may be.
        lines: an object matches if all tests of one line hold.
    """

    class_name: str
    within_metres: float
    lines: tuple[Line, ...]

    def matching_line(self, tags: Mapping[str, str]) -> Line | None:
        """The first line that an object's tags match."""
        return next((line for line in self.lines if all(test.holds(tags) for test in line)), None)


@dataclass(frozen=True)
class Label:
    """A class, and what it was given for.

    Attributes:
        class_name: the class.
        evidence: the tags that decided, such as "natural=water & water=lake"; or what else did.
    """

    class_name: str
    evidence: str


@dataclass(frozen=True, eq=False)
class OsmObject:
    """An object of OpenStreetMap.

    Attributes:
        tags: its tags.
        shape: its geometry.
    """

    tags: Mapping[str, str]
    shape: Shape


@dataclass(frozen=True)
class NearObject:
    """An object near a place.

    Attributes:
        tags: its tags.
        metres: its distance, 0 if the place lies inside its area.
    """

    tags: Mapping[str, str]
    metres: float


@dataclass(frozen=True)
class LabelTable:
    """Rules in order: the first that fits decides."""

    rules: tuple[LabelRule, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes, in alphabetical order."""
        return tuple(sorted({rule.class_name for rule in self.rules}))

    @property
    def farthest_metres(self) -> float:
        """Distance beyond which no object matters."""
        return max(rule.within_metres for rule in self.rules)

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether an object can decide anything."""
        return any(rule.matching_line(tags) for rule in self.rules)

    def rank_of(self, near: NearObject) -> tuple[int, Line] | None:
        """Position and line of the first rule that an object fits; None if it fits none."""
        for number, rule in enumerate(self.rules):
            if near.metres <= rule.within_metres and (line := rule.matching_line(near.tags)) is not None:
                return number, line
        return None

    def label(self, objects: Iterable[NearObject]) -> Label | None:
        """The class of a place by the objects around it; None if none of them fits a rule."""
        ranks = [rank for near in objects if (rank := self.rank_of(near)) is not None]
        return self.label_of(min(ranks, key=lambda rank: rank[0])) if ranks else None

    def label_of(self, rank: tuple[int, Line]) -> Label:
        """The label that a rule gives by one of its lines; see `rank_of`."""
        number, line = rank
        return Label(self.rules[number].class_name, " & ".join(map(str, line)))


def read_label_table(path: Path | None) -> LabelTable:
    """Reads a table, or Earshot's own.

    Raises:
        UserError: the file is not such a table.
    """
    if path is not None:
        return table_of(read_yaml(path), f"--labels {path}")
    text = resources.files("shards.collecting.advance").joinpath("labels.yaml").read_text(encoding="utf-8")
    return table_of(yaml_of(text, "labels.yaml"), "labels.yaml")


def table_of(value: Any, where: str) -> LabelTable:
    """The table of a parsed YAML file.

    Raises:
        UserError: an entry is not one; names it, the field and the rule.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_RULES:
        raise UserError(f"{where} must be a list of 1 to {MOST_RULES} entries with class, within_metres and tags")
    return LabelTable(tuple(_rule(entry, f"{where}: entry {number}") for number, entry in enumerate(value, start=1)))


def _rule(entry: Any, where: str) -> LabelRule:
    if not isinstance(entry, dict) or not {"class", "tags"} <= set(entry) <= ENTRY_NAMES:
        raise UserError(f"{where} must have class, tags and, if wanted, within_metres, got {shown(entry)}")
    name = entry["class"]
    if not isinstance(name, str) or not CLASS_NAME.fullmatch(name) or name.endswith(" "):
        raise UserError(
            f"{where}: class must be up to 60 letters, digits, spaces, _ and - (it names a folder), got {shown(name)}"
        )
    metres = as_number(entry.get("within_metres", 0))
    if metres is None or not 0 <= metres <= MOST_METRES:
        raise UserError(
            f"{where}: within_metres must be from 0 to {MOST_METRES}, got {shown(entry.get('within_metres'))}"
        )
    lines = entry["tags"]
    if not isinstance(lines, list) or not lines:
        raise UserError(f"{where}: tags must be a list of lines such as natural=wood, got {shown(lines)}")
    return LabelRule(name, metres, tuple(_line(line, where) for line in lines))


def _line(text: Any, where: str) -> Line:
    parts = [_TEST.fullmatch(part.strip()) for part in text.split("&")] if isinstance(text, str) else [None]
    tests = tuple(TagTest(match[1].strip(), match[3].strip(), match[2] == "!=") for match in parts if match is not None)
    if len(tests) < len(parts) or all(test.is_negated for test in tests):
        raise UserError(
            f"{where}: a line of tags must be key=value, key=* or key!=value, joined by &, at least one of them "
            f"without !, got {shortened(shown(text))}"
        )
    return tests
