"""The page's charts as inline SVG: a histogram of lengths, pairs by year, and bars by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shards.records import shortened

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 16, 44
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

ROW_HEIGHT = 24
NAME_WIDTH, COUNT_WIDTH = 164, 122
MOST_NAME_LETTERS = 20
MOST_YEARS_NAMED = 8
MOST_STEPS = 5
"""Of an axis of counts."""


@dataclass(frozen=True)
class Column:
    """A column of a chart.

    Attributes:
        name: under the axis; "" for none.
        count: its height.
        title: tooltip.
        is_other: whether it stands for all that lies beyond the axis, and is drawn apart.
    """

    name: str
    count: int
    title: str
    is_other: bool = False


def columns_chart(columns: Sequence[Column], axis: str, description: str) -> Markup:
    """A chart of upright columns over a linear count.

    Args:
        columns: from left to right, at least one.
        axis: name of the axis below.
        description: text alternative for screen readers.
    """
    top, step = count_axis(max(column.count for column in columns))

    def y(count: float) -> float:
        return TOP + PLOT_HEIGHT * (1 - count / top)

    parts = []
    for level in range(0, top + 1, step):
        parts.append(_line(LEFT, y(level), LEFT + PLOT_WIDTH, y(level), "grid"))
        parts.append(_text(LEFT - 7, y(level) + 4, short_count(level), "end"))
    width = PLOT_WIDTH / len(columns)
    gap = min(2.0, 0.2 * width)
    for number, column in enumerate(columns):
        left = LEFT + number * width
        if column.count:
            parts.append(
                Markup(
                    '<rect class="bar{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
                ).format(
                    " other" if column.is_other else "",
                    left + gap / 2,
                    min(y(column.count), y(0) - 1),  # a single pair among millions is still seen
                    width - gap,
                    max(1.0, y(0) - y(column.count)),
                    column.title,
                )
            )
        if column.name:
            side = "end" if number == len(columns) - 1 else "middle"
            x = left + width if side == "end" else left + width / 2
            parts.append(_text(x, TOP + PLOT_HEIGHT + 17, column.name, side))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, axis, "middle"))
    return svg(parts, WIDTH, HEIGHT, description)


def bars_chart(counts: Sequence[tuple[str, int]], total: int, description: str, *, name: str = "bar") -> Markup:
    """A chart of lying bars, one a name, with count and share.

    Args:
        counts: (name, pairs) in order, at least one.
        total: of which the shares are.
        description: text alternative for screen readers.
        name: CSS class of the bars.
    """
    longest = max(1, *(count for _, count in counts))
    space = WIDTH - NAME_WIDTH - COUNT_WIDTH
    parts = []
    for number, (label, count) in enumerate(counts):
        y = number * ROW_HEIGHT
        text = Markup('<text x="{}" y="{}" text-anchor="end">{}<title>{}</title></text>')
        parts.append(text.format(NAME_WIDTH - 8, y + 16, shortened(label, MOST_NAME_LETTERS), label))
        width = max(1.0, space * count / longest) if count else 0.0
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{:.1f}" height="{}"/>').format(
                name, NAME_WIDTH, y + 4, width, ROW_HEIGHT - 8
            )
        )
        share = f"{count:,} · {count / max(1, total):.1%}" if count < 1_000_000 else f"{count / max(1, total):.1%}"
        parts.append(_text(NAME_WIDTH + width + 6, y + 16, share, "start"))
    return svg(parts, WIDTH, ROW_HEIGHT * len(counts) + 2, description)


def count_axis(largest: int) -> tuple[int, int]:
    """The top of an axis of counts and the step of its marks, at most `MOST_STEPS`: 1, 2 or 5 times a power of ten."""
    largest = max(1, largest)
    step = next(
        factor * 10**power for power in range(20) for factor in (1, 2, 5) if largest <= MOST_STEPS * factor * 10**power
    )
    return step * math.ceil(largest / step), step


def short_count(count: int) -> str:
    """A count for an axis: 1,500 as 1.5k, 2,000,000 as 2M."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if count >= size:
            return f"{count / size:g}{letter}"
    return str(count)


def year_names(years: Sequence[int]) -> list[str]:
    """Which years are named under an axis: all of few, else every second, fifth or tenth."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if len(years) / step <= MOST_YEARS_NAMED)
    return [str(year) if year % step == 0 else "" for year in years]


def svg(parts: Sequence[Markup], width: float, height: float, description: str) -> Markup:
    """An SVG of these parts that scales with the page."""
    return Markup('<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        width, height, description, Markup("").join(parts)
    )


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(name, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
