"""The report's charts as inline SVG: recall over k, and a histogram of the ranks of true matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 44
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

MAX_CURVE_POINTS = 120
HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class Curve:
    """A line of the recall chart.

    Attributes:
        name: CSS class of the colour.
        recalls: recall at each k of `curve_ks`, in [0, 1].
    """

    name: str
    recalls: list[float]


def curve_ks(gallery_size: int) -> list[int]:
    """The values of k at which recall is drawn, from 1 to the gallery size, evenly spaced on a logarithmic axis."""
    return sorted(set(np.geomspace(1, gallery_size, MAX_CURVE_POINTS).round().astype(int).tolist()))


def recall_chart(ks: list[int], curves: list[Curve], description: str) -> Markup:
    """A chart of recall over k, with a logarithmic k axis.

    Args:
        ks: the values of k, from `curve_ks`.
        curves: the curves in drawing order.
        description: text alternative for screen readers.
    """
    span = np.log(max(ks[-1], 2))

    def x(k: float) -> float:
        return LEFT + PLOT_WIDTH * float(np.log(k) / span)

    def y(recall: float) -> float:
        return TOP + PLOT_HEIGHT * (1 - recall)

    parts = [_horizontal_grid([(y(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)])]
    for k in _ticks(ks[-1]):
        parts.append(_line(x(k), TOP, x(k), TOP + PLOT_HEIGHT, "grid"))
        parts.append(_text(x(k), TOP + PLOT_HEIGHT + 17, f"{k:,}", "middle"))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, "k (logarithmic)", "middle"))
    for curve in curves:
        points = " ".join(f"{x(k):.1f},{y(recall):.1f}" for k, recall in zip(ks, curve.recalls, strict=True))
        parts.append(Markup('<polyline class="curve {}" points="{}"/>').format(curve.name, points))
    return _svg(parts, description)


def histogram_shares(ranks: NDArray[np.float64], gallery_size: int) -> NDArray[np.float64]:
    """The share of queries in each of up to `HISTOGRAM_BINS` equal intervals of the ranking, best ranks first."""
    bins = min(HISTOGRAM_BINS, gallery_size)
    # Rank r of n covers the interval from (r − 1) / n to r / n; its middle determines the bin.
    middles = (ranks - 0.5) / gallery_size
    counts = np.bincount(np.minimum((middles * bins).astype(int), bins - 1), minlength=bins)
    return counts / len(ranks)


def rank_histogram(name: str, shares: NDArray[np.float64], top_share: float, median: float, description: str) -> Markup:
    """A bar chart of `histogram_shares`, with lines for chance and for the median.

    Args:
        name: CSS class of the colour of the bars.
        shares: height of each bar.
        top_share: the largest share on the axis, so that two histograms can have the same scale.
        median: the median rank as a fraction of the gallery, in [0, 1].
        description: text alternative for screen readers.
    """
    step = next(step for step in (0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0) if top_share / step <= 5)
    top = step * np.ceil(top_share / step - 1e-9)

    def y(share: float) -> float:
        return float(TOP + PLOT_HEIGHT * (1 - share / top))

    parts = [_horizontal_grid([(y(share), f"{share:.0%}") for share in np.arange(0, top + step / 2, step)])]
    width = PLOT_WIDTH / len(shares)
    for number, share in enumerate(shares):
        if share > 0:
            left, height = LEFT + number * width + 1, y(0) - y(share)
            parts.append(
                Markup('<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5"/>').format(
                    name, left, y(share), width - 2, height
                )
            )
    parts.append(_line(LEFT, y(1 / len(shares)), LEFT + PLOT_WIDTH, y(1 / len(shares)), "chance-line"))
    parts.append(_text(LEFT + PLOT_WIDTH, y(1 / len(shares)) - 5, "chance", "end"))
    x = LEFT + PLOT_WIDTH * median
    parts.append(_line(x, TOP, x, y(0), f"median-line {name}"))
    side, gap = ("start", 5) if median < 0.8 else ("end", -5)
    parts.append(_text(x + gap, TOP + 11, "median", side))
    for share in (0, 0.25, 0.5, 0.75, 1):
        anchor = "middle" if share < 1 else "end"
        parts.append(_text(LEFT + PLOT_WIDTH * share, TOP + PLOT_HEIGHT + 17, f"{share:.0%}", anchor))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, "rank of the true match, in % of the gallery", "middle"))
    return _svg(parts, description)


def _ticks(largest: int) -> list[int]:
    powers = [10**power for power in range(len(str(largest)))]
    # The gallery size is labelled at the end of the axis; powers of ten too close to it are omitted.
    return [k for k in powers if k == 1 or k <= largest / 2] + [largest] if largest > 1 else [1]


def _horizontal_grid(levels: list[tuple[float, str]]) -> Markup:
    lines = [_line(LEFT, y, LEFT + PLOT_WIDTH, y, "grid") + _text(LEFT - 7, y + 4, label, "end") for y, label in levels]
    return Markup("").join(lines)


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(name, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _svg(parts: list[Markup], description: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, description, Markup("").join(parts)
    )
