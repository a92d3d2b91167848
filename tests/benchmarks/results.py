"""Measured rows, the targets that are set against them, and both as one table and one JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

Value = float | int | str | None

PAGE_COLUMNS = 150
"""Of a table in a file; a terminal has its own."""


@dataclass(frozen=True)
class Row:
    """One measured case.

    Attributes:
        suite: the suite that measured it.
        case: what was measured; a suite names no two alike.
        figures: by name, which ends in the unit.
        why_not: why there are no figures.
    """

    suite: str
    case: str
    figures: dict[str, Value] = field(default_factory=dict)
    why_not: str | None = None


class Figure(NamedTuple):
    """A figure of a row, by its names."""

    suite: str
    case: str
    name: str


@dataclass(frozen=True)
class Target:
    """What a figure, or the ratio of two measured in the same run, is to reach.

    Attributes:
        what: in words.
        numerator: the figure.
        denominator: what it is divided by, None for the figure itself.
        bound: the value to reach.
        aim: what is hoped for beyond.
        at_most: whether the value must not exceed the bound; else it must not fall short of it.
        unit: behind the value, "×" for a ratio.
    """

    what: str
    numerator: Figure
    denominator: Figure | None
    bound: float
    aim: float | None = None
    at_most: bool = False
    unit: str = "×"


@dataclass(frozen=True)
class Outcome:
    """A target and what was measured; `value` and `met` are None where a figure is missing."""

    target: Target
    value: float | None
    met: bool | None


def judge(target: Target, rows: list[Row]) -> Outcome:
    """The value that a target speaks of, from measured figures alone."""
    figures = {(row.suite, row.case, name): value for row in rows for name, value in row.figures.items()}
    numerator = figures.get(target.numerator)
    denominator = 1.0 if target.denominator is None else figures.get(target.denominator)
    if not isinstance(numerator, (int, float)) or not isinstance(denominator, (int, float)) or not denominator:
        return Outcome(target, None, None)
    value = numerator / denominator
    return Outcome(target, value, value <= target.bound if target.at_most else value >= target.bound)


def as_record(machine: dict[str, Any], rows: list[Row], outcomes: list[Outcome], **settings: Any) -> dict[str, Any]:
    """What is written as JSON."""
    return {
        "machine": machine,
        **settings,
        "rows": [dataclasses.asdict(row) for row in rows],
        "targets": [
            {
                **dataclasses.asdict(outcome.target),
                "numerator": outcome.target.numerator._asdict(),
                "denominator": outcome.target.denominator._asdict() if outcome.target.denominator else None,
                "value": outcome.value,
                "met": outcome.met,
            }
            for outcome in outcomes
        ],
    }


def as_table(title: str, rows: list[Row], outcomes: list[Outcome]) -> Table:
    """All rows, a section a suite, each followed by its targets."""
    from rich.table import Table  # the figures of a GPU are judged where it may be missing

    table = Table(title=title, title_justify="left")
    for heading in ("case", "measured", "ratio", "target", "met"):
        table.add_column(heading, justify="right" if heading in ("ratio", "target") else "left")
    for suite in dict.fromkeys(row.suite for row in rows):
        table.add_row(f"[bold]{suite}[/bold]")
        for row in (row for row in rows if row.suite == suite):
            figures = " · ".join(f"{name} {shown(value)}" for name, value in row.figures.items())
            table.add_row(row.case, figures if row.why_not is None else f"not measured: {row.why_not}")
        for outcome in (outcome for outcome in outcomes if outcome.target.numerator.suite == suite):
            target = outcome.target
            wanted = f"{'≤' if target.at_most else '≥'} {shown(target.bound)} {target.unit}"
            wanted += f", aim {shown(target.aim)}" if target.aim is not None else ""
            value = "not measured" if outcome.value is None else f"{shown(outcome.value)} {target.unit}"
            met = {None: "", True: "yes", False: "NO"}[outcome.met]
            table.add_row(f"[italic]{target.what}[/italic]", "", value, wanted, met)
        table.add_section()
    return table


def shown(value: Value) -> str:
    """A figure with about three digits."""
    if value is None or isinstance(value, str):
        return value or "–"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal, or as a page."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=PAGE_COLUMNS)).print(table)
