"""The figure of a comparison: one panel per score, with each seed as a circle and mean ± standard deviation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from downstream.reporting.published import BACKBONES
from downstream.running.pictures import INK, RIGHT_COLOUR, SOFT, WRONG_COLOUR, shortened
from launch.comparison.contents import Comparison
from launch.comparison.table import DAGGER, Column, Statistic, Table
from pretrain.scores import RANK, Unit

COLOURS = (RIGHT_COLOUR, WRONG_COLOUR, "#7b5ea7", SOFT)
"""Colours of the backbones; teal and orange are distinguishable with any colour vision, the others by their offsets."""
PANELS_PER_ROW = 3
WIDTH, NARROW_WIDTH = 12.5, 4.6
LABEL_CHARACTERS = 26
INCHES_PER_LINE = 0.27
MARKS_OF_A_DECADE = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""Tick marks of a logarithmic axis, from coarse to fine; if none gives three ticks, they are spaced evenly."""


def draw(comparison: Comparison, *, panels_per_row: int = PANELS_PER_ROW) -> Figure | None:
    """Draws all scores; returns None if there are none yet.

    Args:
        comparison: the contents.
        panels_per_row: at most; with one panel the figure is as wide as a phone's screen is.
    """
    tables = [table for table in comparison.tables if not table.is_published]
    # Each retrieval direction fills its own row of panels; costs are not drawn.
    rows = [row for table in tables for row in _rows_of_panels(table, panels_per_row)]
    if not rows:
        return None
    methods = list(dict.fromkeys(line.method for line in comparison.lines))
    backbones = list(dict.fromkeys(line.backbone for line in comparison.lines))
    height = 1.05 + INCHES_PER_LINE * len(methods) * max(1.0, 0.7 * len(backbones))
    figure = Figure(
        figsize=(WIDTH if panels_per_row > 1 else NARROW_WIDTH, 0.45 + height * len(rows)),
        layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09),
        facecolor="white",
    )
    grid = figure.subplots(len(rows), panels_per_row, squeeze=False)
    for axes_of_row, row in zip(grid, rows, strict=True):
        for place, axes in enumerate(axes_of_row):
            if place >= len(row):
                axes.set_axis_off()
                continue
            table, column = row[place]
            _draw_panel(axes, comparison, table, column, methods, backbones)
            if place:
                axes.tick_params(labelleft=False)
    _draw_legend(figure, tables, backbones, is_narrow=panels_per_row == 1)
    return figure


def _rows_of_panels(table: Table, panels_per_row: int) -> Iterator[list[tuple[Table, Column]]]:
    columns = [column for column in table.columns if column.score.better != "neither"]
    for start in range(0, len(columns), panels_per_row):
        yield [(table, column) for column in columns[start : start + panels_per_row]]


def _draw_panel(
    axes: Axes, comparison: Comparison, table: Table, column: Column, methods: list[str], backbones: list[str]
) -> None:
    unit = column.score.unit
    spread = 0.22 if len(backbones) > 1 else 0.0
    for line in table.lines:
        figure = line.figures.get(column.key)
        if figure is not None:
            turn = backbones.index(line.backbone)
            offset = spread * (2 * turn / max(1, len(backbones) - 1) - 1)
            seeds = [
                unit.factor * outcome.scores[column.key]
                for outcome in comparison.outcomes
                if (outcome.method, outcome.backbone) == (line.method, line.backbone) and column.key in outcome.scores
            ]
            y, colour = methods.index(line.method) + offset, COLOURS[turn % len(COLOURS)]
            if column.key in line.intervals:
                bounds = [unit.factor * bound for bound in line.intervals[column.key]]
                axes.plot(bounds, [y, y], "|-", color=colour, linewidth=0.8, markersize=5, alpha=0.7, zorder=1.5)
            _draw_line(axes, y, seeds, figure, unit, colour)
    marks = {line.method: table.mark(line) for line in table.lines}
    labels = [shortened(method, LABEL_CHARACTERS) + marks[method] for method in methods]
    # A dollar sign in a label does not start a formula.
    axes.set_yticks(range(len(methods)), labels, parse_math=False, fontsize=9, color=INK)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    subtitle = f"{column.score.better} is better" + (", %" if column.score.is_percent else "")
    if column.key in table.chance:
        chance = table.chance[column.key]
        axes.axvline(unit.factor * chance, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
        subtitle += f"; dashed: chance, {column.show(chance)}"
    # At distances in points, so that the two lines stay apart above low panels too.
    above = partial(axes.annotate, xy=(0, 1), xycoords="axes fraction", textcoords="offset points")
    above(column.title, xytext=(0, 17), parse_math=False, fontsize=10.5, weight="bold", color=INK)
    above(subtitle, xytext=(0, 4), fontsize=8.5, color=SOFT)
    if unit == RANK:
        _make_logarithmic(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.grid(axis="x", color="#e2ddd3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, colors=SOFT)
    axes.tick_params(axis="y", labelsize=9, labelcolor=INK)
    axes.spines[:].set_visible(False)


def _draw_line(axes: Axes, y: float, seeds: list[float], figure: Statistic, unit: Unit, colour: str) -> None:
    mean, sd = unit.factor * figure.mean, unit.factor * (figure.sd or 0)
    # Clipped, because no rank is below 1 and no share is outside 0 to 100 %.
    least, most = unit.bounds
    ends = [max(mean - sd, least), min(mean + sd, most)]
    axes.plot(ends, [y, y], color=colour, linewidth=2, solid_capstyle="butt", alpha=0.55)
    axes.plot([mean, mean], [y - 0.2, y + 0.2], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot(seeds, [y] * len(seeds), "o", color="white", markeredgecolor=colour, markersize=4.5, markeredgewidth=1.1)


def _make_logarithmic(axes: Axes) -> None:
    """Makes the x axis logarithmic, with plain numbers as ticks even for a narrow range."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    ladders = [[start * mark for start in decades for mark in marks] for marks in MARKS_OF_A_DECADE]
    ladders.append(list(MaxNLocator(4).tick_values(low, high)))
    shown = [[mark for mark in ladder if low <= mark <= high] for ladder in ladders]
    axes.xaxis.set_major_locator(FixedLocator(next((ladder for ladder in shown if len(ladder) >= 3), shown[-1])))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def _draw_legend(figure: Figure, tables: Sequence[Table], backbones: list[str], *, is_narrow: bool) -> None:
    entries = [
        Line2D([], [], color=colour, linewidth=3, label=BACKBONES.get(backbone, backbone))
        for backbone, colour in zip(backbones, COLOURS, strict=False)
    ]
    words = "circle: run; bar: mean; thick line: ± 1 standard deviation over seeds"
    if any(line.intervals for table in tables for line in table.lines):
        words += "; thin line: 95 % interval over queries"
    if any(table.mark(line) for table in tables for line in table.lines):
        words += f"; {DAGGER} sound tower not trained"
    if is_narrow:
        words = words.replace("; ", "\n")
    entries.append(Line2D([], [], linestyle="none", label=words))
    legend = figure.legend(
        handles=entries,
        loc="outside lower left",
        ncols=1 if is_narrow else len(entries),
        frameon=False,
        fontsize=9,
        handlelength=1.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
