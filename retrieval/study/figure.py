"""The study's figure: both rates with confidence intervals, each rater as a dot, and the paper's rates."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrieval.study.tally import KINDS, Tally

INK, SOFT, LINE = "#1b2226", "#5d676c", "#e2ddd3"
COLOURS = {"true": "#0f6e84", "retrieved": "#b4541a"}
LABELS = {"true": "True pairs", "retrieved": "Retrieved pairs"}
DOTS_SPREAD = 0.15


@dataclass(frozen=True)
class PublishedRate:
    """A published rate of "yes": mean and standard deviation over raters, in [0, 1]."""

    mean: float
    standard_deviation: float


def draw_figure(counts: Tally, published: dict[str, PublishedRate], *, is_narrow: bool = False) -> bytes:
    """Draws the figure as PNG, 1440 × 580 pixels.

    Args:
        counts: the study's results.
        published: the published rate of each kind, drawn in grey.
        is_narrow: for a phone: 720 × 600 pixels, with letters that are twice as large beside its width.
    """
    figure = Figure(figsize=(3.6, 3.0) if is_narrow else (7.2, 2.9), dpi=200, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for row, kind in enumerate(reversed(KINDS)):
        _draw_kind(axes, row, kind, counts, published[kind])
    axes.axvline(0.5, color=SOFT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.55, 1.5), yticks=range(len(KINDS)))
    labels = [LABELS[kind].replace(" ", "\n") if is_narrow else LABELS[kind] for kind in reversed(KINDS)]
    axes.set_yticklabels(labels, fontsize=11, color=INK)
    axes.set_xticks(np.arange(0, 1.01, 0.25), [f"{100 * share:.0f} %" for share in np.arange(0, 1.01, 0.25)])
    axes.set_xlabel("answered “yes, recorded here”", color=SOFT)
    axes.tick_params(length=0, colors=SOFT)
    axes.tick_params(axis="y", colors=INK)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _draw_kind(axes: Axes, row: int, kind: str, counts: Tally, published: PublishedRate) -> None:
    """Draws one row: raters below, mean and interval in the middle, published mean ± standard deviation above."""
    colour, summary = COLOURS[kind], counts.rates[kind]
    rates = np.array([rater.rates[kind] for rater in counts.raters])
    # Jitter separates raters with the same rate; the seed makes the figure reproducible.
    spread = np.random.default_rng(row).uniform(-1, 1, len(rates)) * DOTS_SPREAD / 2
    axes.scatter(rates, row - 0.24 + spread, s=26, color=colour, alpha=0.45, linewidths=0, zorder=2, clip_on=False)
    assert summary.low is not None
    assert summary.high is not None
    axes.plot([summary.low, summary.high], [row, row], color=colour, linewidth=3, solid_capstyle="round", zorder=3)
    axes.scatter([summary.mean], [row], s=90, color=colour, edgecolors="white", linewidths=1.5, zorder=4, clip_on=False)
    where: dict[str, Any] = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center", "fontsize": 11}
    axes.annotate(f"{100 * summary.mean:.1f} %", (summary.mean, row), color=colour, weight="bold", **where)
    ends = [published.mean - published.standard_deviation, published.mean + published.standard_deviation]
    axes.plot(ends, [row + 0.4] * 2, color=SOFT, linewidth=1.2, alpha=0.7)
    axes.scatter([published.mean], [row + 0.4], s=22, color=SOFT, zorder=3)
    note: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
    axes.annotate("paper", (ends[1], row + 0.4), color=SOFT, **note)
