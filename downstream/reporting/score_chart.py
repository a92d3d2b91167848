"""The scores of a table as a chart: measured and published rows, a panel for each score, lines for deviations."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from downstream.exhibits import Exhibit
from downstream.reporting.rows import MEASURED, Row
from downstream.reporting.tables import MODALITIES, Table
from downstream.running.pictures import INK, RIGHT_COLOUR, SOFT, WRONG_COLOUR, png_of, shortened

MOST_PANELS = 3
MOST_ROWS = 40
ROW_HEIGHT, PANEL_WIDTH, INCHES_PER_LETTER = 0.25, 2.4, 0.075
LABEL_CHARACTERS = 42
COLOURS = {True: WRONG_COLOUR, False: RIGHT_COLOUR}
"""Of measured rows and of published ones, as in the page's tables."""


def score_chart(table: Table, number: int) -> Exhibit | None:
    """The chart of a table; None where it would hold a single dot, or more rows than can be read.

    Args:
        table: the table.
        number: of the table in the report, for the name of the file.
    """
    columns = list(table.columns)[-MOST_PANELS:] if table.layout.by_epoch else list(table.columns)[:MOST_PANELS]
    rows = [row for row in table.rows if any(name in row.figures for name in columns)]
    if not 1 < len(rows) <= MOST_ROWS:
        return None
    caption = (
        f"{', '.join(table.columns[name] for name in columns)}: filled dots are measured, open diamonds published; "
        "lines are ± one standard deviation, where there are several runs."
    )
    png = png_of(draw_scores(table, rows, columns))
    return Exhibit(f"{table.rows[0].benchmark}-scores-{number}", f"{table.title}: scores", caption, png)


def draw_scores(table: Table, rows: Sequence[Row], columns: Sequence[str]) -> Figure:
    """A panel for each column, with a line for each row in the table's order."""
    labels = [_label(row) for row in rows]
    label = 0.4 + INCHES_PER_LETTER * max(map(len, labels))
    width = label + PANEL_WIDTH * len(columns)
    height = 0.85 + ROW_HEIGHT * len(rows)
    figure = Figure(figsize=(width, height), facecolor="white")
    for place, name in enumerate(columns):
        left = label + PANEL_WIDTH * place
        box = (left / width, 0.55 / height, (PANEL_WIDTH - 0.25) / width, ROW_HEIGHT * len(rows) / height)
        axes = figure.add_axes(box)
        _draw_panel(axes, rows, name)
        axes.set_title(table.columns[name], loc="left", fontsize=10.5, weight="bold", color=INK, parse_math=False)
        if place:
            axes.tick_params(labelleft=False)
            continue
        axes.set_yticklabels(labels, fontsize=9, parse_math=False)
        for text, row in zip(axes.get_yticklabels(), rows, strict=True):
            text.set_color(COLOURS[True] if row.origin == MEASURED else INK)
            text.set_fontweight("bold" if row.origin == MEASURED else "normal")
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=COLOURS[True], label="measured"),
        Line2D([], [], marker="D", linestyle="none", color=COLOURS[False], markerfacecolor="white", label="published"),
    ]
    figure.legend(handles=handles, loc="lower left", ncols=2, frameon=False, fontsize=9, bbox_to_anchor=(0, 0))
    return figure


def _draw_panel(axes: Axes, rows: Sequence[Row], name: str) -> None:
    for y, row in enumerate(rows):
        figure, is_measured = row.figures.get(name), row.origin == MEASURED
        if figure is None:
            continue
        colour = COLOURS[is_measured]
        if figure.sd is not None:
            least, most = figure.unit.bounds
            ends = [max(figure.mean - figure.sd, least), min(figure.mean + figure.sd, most)]
            axes.plot(ends, [y, y], color=colour, linewidth=1.8, alpha=0.55, solid_capstyle="butt")
        fill = colour if is_measured else "white"
        axes.plot([figure.mean], [y], "o" if is_measured else "D", color=colour, markerfacecolor=fill, markersize=5)
    axes.set_yticks(range(len(rows)))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
    axes.grid(color="#e2ddd3", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, colors=SOFT)
    axes.spines[:].set_visible(False)


def _label(row: Row) -> str:
    words = [row.weights, row.backbone, MODALITIES[row.modality], row.approach]
    return shortened(", ".join(filter(None, words)), LABEL_CHARACTERS)
