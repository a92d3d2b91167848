"""`RUN/curves.png`: the curves of a run as a picture; a failure to draw it is a warning, never the end of a run."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain.training.curves import Panel, panels_of, steps_per_epoch
from pretrain.training.metrics_file import MetricsFile
from shards.atomic_files import write_bytes_atomically
from shards.errors import disk_refusal, first_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES_NAME = "curves.png"
COLOURS = ("#0f6e84", "#b4541a", "#7b5ea7", "#5d676c")
INK, SOFT, GRID = "#1b2226", "#5d676c", "#e2ddd3"
WIDTH, PANEL_HEIGHT, FOOT = 7.2, 1.95, 0.75
DOTS_PER_INCH = 110
FEW_POINTS = 40
"""Curves with at most this number of points have markers."""


def write_curves(run_folder: Path, best_step: int | None = None) -> Path | None:
    """Writes `RUN/curves.png` from `RUN/metrics.jsonl`.

    Args:
        run_folder: the run.
        best_step: step of the weights in `RUN/model/`, marked by a line; None: no line.

    Returns:
        Its path; None if there is nothing to draw, or it could not be drawn, which is a warning.

    Raises:
        OSError: the disk refuses a file; see `shards.errors.disk_refusal`.
    """
    path = run_folder / CURVES_NAME
    try:
        png = curves_png(MetricsFile(run_folder).read(), best_step)
        if png is None:
            return None
        write_bytes_atomically(path, png)
    except Exception as error:
        if isinstance(error, OSError) and disk_refusal(error):
            raise  # what comes next could not be written either
        sentence = f"warning: the curves can't be drawn to {path} ({first_line(error)}); the run is not affected"
        print(sentence, file=sys.stderr, flush=True)
        return None
    return path


def curves_png(lines: Sequence[Mapping[str, Any]], best_step: int | None = None) -> bytes | None:
    """The picture of the lines of `metrics.jsonl`, the same bytes for the same lines; None if they hold no curve."""
    panels = panels_of(lines)
    if not panels:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    per_epoch = steps_per_epoch(lines)
    height = PANEL_HEIGHT * len(panels) + FOOT
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    last = max(step for panel in panels for curve in panel.curves for step in curve.steps) / (per_epoch or 1)
    for number, panel in enumerate(panels):
        bottom = height - PANEL_HEIGHT * (number + 1) + 0.1
        axes = figure.add_axes((0.62 / WIDTH, bottom / height, (WIDTH - 0.8) / WIDTH, (PANEL_HEIGHT - 0.5) / height))
        _draw(axes, panel, per_epoch or 1)
        axes.set_xlim(0, last or 1)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if best_step is not None:
            axes.axvline(best_step / (per_epoch or 1), color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        if number < len(panels) - 1:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("epochs" if per_epoch else "steps", fontsize=10, color=SOFT)
    if best_step is not None:
        words = f"dotted: step {best_step:,}, whose weights are kept"
        figure.text(1 - 0.18 / WIDTH, 0.1 / height, words, fontsize=9, color=SOFT, ha="right")
    buffer = io.BytesIO()
    # Without date and version of the software, so that equal runs give equal files.
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, panel: Panel, per_epoch: int) -> None:
    for curve, colour in zip(panel.curves, COLOURS, strict=False):
        marker = "o" if len(curve.steps) <= FEW_POINTS else ""
        xs = [step / per_epoch for step in curve.steps]
        axes.plot(xs, curve.values, color=colour, linewidth=1.5, marker=marker, markersize=3, label=curve.name)
    if panel.chance is not None:
        axes.axhline(panel.chance, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6, label="chance")
    if panel.is_rank:
        _make_logarithmic(axes)
    elif all(value >= 0 for curve in panel.curves for value in curve.values):
        axes.set_ylim(bottom=0)
    axes.set_title(panel.title, loc="left", fontsize=10.5, weight="bold", color=INK, parse_math=False)
    if len(panel.curves) > 1 or panel.chance is not None:
        legend = axes.legend(
            loc="lower right", bbox_to_anchor=(1.005, 0.985), ncols=5, frameon=False, fontsize=9, handlelength=1.2
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
            text.set_color(INK)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, colors=SOFT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _make_logarithmic(axes: Axes) -> None:
    """A logarithmic axis of ranks, with plain numbers at 1, 2, 5, 10, 20 …."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    low, high = axes.dataLim.y0, axes.dataLim.y1
    axes.set_yscale("log")
    axes.set_ylim(max(1, low) / 1.15, max(high, 1.5) * 1.15)
    marks = [mark * 10.0**power for power in range(9) for mark in (1, 2, 5)]
    axes.yaxis.set_major_locator(FixedLocator([mark for mark in marks if low / 1.15 <= mark <= high * 1.15]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
