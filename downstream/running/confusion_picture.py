"""Confusion matrices as pictures, all on one colour scale: the share of a class, from 0 to 1, with its colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

INK, SOFT, GRID = "#1b2226", "#5d676c", "#e2ddd3"
SCALE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfe4e9", "#7db5c3", "#0f6e84", "#083c49"])
"""Colours of shares from 0 to 1; a share of 0 is white."""
DARK_SHARE = 0.55
"""Text is white on shares above this one."""
BAR_WORDS = "share of the images of a class (row); frame: correct"
MANY_CLASSES = 20
CELL, SMALL_CELL = 0.48, 0.36
"""Inches of a cell, up to `MANY_CLASSES` and above."""
LEAST_WIDTH = 6.0
FOOT = 0.75


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix, and what it is of.

    Attributes:
        title: of the picture.
        matrix: (classes, classes): entry (i, j) counts items of class i that were predicted as class j.
    """

    title: str
    matrix: NDArray[np.int64]


def draw_confusions(confusions: Sequence[Confusion], classes: Sequence[str]) -> Figure:
    """Confusion matrices one below the other, with counts, and one colour bar for all.

    Args:
        confusions: of the same classes.
        classes: names.
    """
    n = len(classes)
    cell = SMALL_CELL if n > MANY_CLASSES else CELL
    label = 0.1 * max(map(len, classes)) + 0.5
    above = 0.085 * max(map(len, classes)) + 0.7
    each = n * cell + above + 0.45
    width, height = max(n * cell + label + 0.95, LEAST_WIDTH), each * len(confusions) + FOOT
    figure = Figure(figsize=(width, height), facecolor="white")
    for number, confusion in enumerate(confusions):
        top = height - each * number
        axes = figure.add_axes(
            (label / width, (top - each + 0.35) / height, n * cell / width, n * cell / height),
        )
        _draw(axes, confusion.matrix, classes, 7.5 if n > MANY_CLASSES else 9)
        figure.text(
            0.12 / width, (top - 0.18) / height, confusion.title, fontsize=12, weight="bold", color=INK, va="top"
        ).set_parse_math(False)
    bar = figure.add_axes((label / width, 0.42 / height, min(3.2, width - label - 0.3) / width, 0.13 / height))
    shares = ScalarMappable(Normalize(0, 1), SCALE)
    figure.colorbar(shares, cax=bar, orientation="horizontal", ticks=(0, 0.25, 0.5, 0.75, 1))
    bar.tick_params(labelsize=8.5, colors=SOFT, length=2)
    bar.set_title(BAR_WORDS, fontsize=8.5, color=SOFT, loc="left", pad=4)
    return figure


def _draw(axes: Axes, matrix: NDArray[np.int64], classes: Sequence[str], size: float) -> None:
    n, totals = len(classes), matrix.sum(1)
    shares = matrix / np.maximum(totals, 1)[:, None]
    axes.imshow(shares, cmap=SCALE, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for i, j in np.argwhere(matrix > 0):
        colour = "white" if shares[i, j] > DARK_SHARE else INK
        axes.text(j, i, f"{matrix[i, j]}", ha="center", va="center", fontsize=size, color=colour)
    for i in range(n):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.1))
        share = f"{shares[i, i]:.0%}" if totals[i] else "–"
        axes.text(n - 0.3, i, share, ha="left", va="center", fontsize=size + 0.5, color=INK)
    axes.text(n - 0.3, -0.85, "correct", ha="left", va="center", fontsize=size + 0.5, color=INK)
    # Above, where a reader begins; below would be a screen away in a large matrix.
    axes.xaxis.tick_top()
    axes.set_xticks(range(n), classes, rotation=90, fontsize=size + 1, parse_math=False)
    axes.set_yticks(range(n), classes, fontsize=size + 1, parse_math=False)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="both", length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_color("#c9c3b6")
    axes.set_xlabel("predicted", fontsize=10, color=SOFT)
    axes.set_ylabel("class", fontsize=10, color=SOFT)
