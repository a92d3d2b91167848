"""The scores of approaches as bars, one panel for each input, with published scores as marks (Hu et al., Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from downstream.exhibits import Exhibit
from downstream.reporting.rows import MEASURED, PUBLISHED, Row
from downstream.reporting.tables import MODALITIES, Table
from downstream.running.pictures import INK, SOFT, png_of, shortened
from pretrain.scores import Score

COLOURS = ("#9fcad3", "#0f6e84", "#b4541a")
PANEL_HEIGHT, GROUP_WIDTH = 2.6, 1.15
LEAST_WIDTH = 7.5


def approach_chart(table: Table) -> Exhibit:
    """The chart of a table."""
    inputs = ", ".join(MODALITIES[modality] or "all" for modality in _measured(table))
    caption = f"Scores in percent by approach, for the input {inputs}; whiskers are standard deviations over runs."
    benchmark = table.rows[0].benchmark
    return Exhibit(f"{benchmark}-approaches", "Scores by approach", caption, png_of(draw_approaches(table)))


def _measured(table: Table) -> dict[str, list[Row]]:
    """Its measured rows by modality."""
    rows = {name: [row for row in table.rows if (row.origin, row.modality) == (MEASURED, name)] for name in MODALITIES}
    return {modality: of for modality, of in rows.items() if of}


def draw_approaches(table: Table) -> Figure:
    """A panel for each input: a group of bars for each measured row, a bar for each score, whiskers for deviations.

    The published scores of the same input and approach are diamonds on the bars.
    """
    panels = list(_measured(table).items())
    scores = [score for score in table.layout.scores if score.key in table.columns]
    width = max(LEAST_WIDTH, 1.0 + GROUP_WIDTH * max(len(rows) for _, rows in panels))
    height = 0.7 + PANEL_HEIGHT * len(panels)
    figure = Figure(figsize=(width, height))
    for number, (modality, rows) in enumerate(panels):
        bottom = height - 0.7 - PANEL_HEIGHT * (number + 1) + 0.45
        axes = figure.add_axes((0.75 / width, bottom / height, (width - 0.9) / width, (PANEL_HEIGHT - 0.8) / height))
        published = [row for row in table.rows if row.origin == PUBLISHED and row.modality == modality]
        _draw_panel(axes, rows, published, scores)
        axes.set_title(MODALITIES[modality], loc="left", fontsize=9.5, color=INK, weight="bold")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False, fontsize=8.5, labelcolor=INK)
    figure.text(0.15 / width, 1 - 0.14 / height, "Scores by approach", fontsize=13, weight="bold", color=INK, va="top")
    return figure


def _draw_panel(axes: Axes, rows: Sequence[Row], published: Sequence[Row], scores: Sequence[Score]) -> None:
    step = 0.8 / len(scores)
    for number, score in enumerate(scores):
        for place, row in enumerate(rows):
            figure, x = row.figures.get(score.key), place + (number - (len(scores) - 1) / 2) * step
            label = score.heading if place == 0 else None
            if figure is not None:
                axes.bar(x, figure.mean, 0.92 * step, color=COLOURS[number % len(COLOURS)], label=label)
            if figure is not None and figure.sd is not None:
                axes.errorbar(x, figure.mean, figure.sd, color=INK, linewidth=0.9, capsize=2)
            for other in published:
                mark = other.figures.get(score.key) if other.approach == row.approach else None
                if mark is not None:
                    named = "published" not in axes.get_legend_handles_labels()[1]
                    axes.scatter(
                        x,
                        mark.mean,
                        s=20,
                        marker="D",
                        color="white",
                        edgecolors=INK,
                        zorder=3,
                        label="published" if named else None,
                    )
    names = [row.approach for row in rows]
    labels = [
        f"{row.approach}\n{shortened(row.weights)}" if names.count(row.approach) > 1 else row.approach for row in rows
    ]
    axes.set_xticks(range(len(rows)), labels, fontsize=7.5, parse_math=False)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(0, 100)
    axes.tick_params(axis="y", labelsize=8, colors=SOFT, length=0)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.grid(visible=True, color="#e2ddd3", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#c9c3b6")
