"""Figures of a classifier's test: confusion matrix and a sheet of the worst mistakes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from downstream.running.items import SceneItem
from downstream.scores import confusion
from shards.atomic_files import write_bytes_atomically
from shards.errors import RejectedPair

CONFUSION_NAME = "confusion_matrix.png"
MISTAKES_NAME = "mistakes.png"

RIGHT_COLOUR, WRONG_COLOUR, INK, SOFT = "#0f6e84", "#b4541a", "#1b2226", "#5d676c"
RIGHT = LinearSegmentedColormap.from_list("right", ["#ffffff", "#9fcad3", RIGHT_COLOUR])
WRONG = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#eebf9d", WRONG_COLOUR])

DARK_SHARE = 0.65
"""Text is white on colours above this share of their scale."""

WORST_SHARE = 0.25
"""Share of a class at which a mistake has the darkest colour, so that rare mistakes are visible."""

MOST_MISTAKES = 24
SHEET_COLUMNS = 6
THUMBNAIL_PIXELS = 224
LABEL_CHARACTERS = 20
DOTS_PER_INCH = 110


def write_pictures(
    folder: Path, items: Sequence[SceneItem], classes: Sequence[str], probabilities: NDArray[np.float32]
) -> list[Path]:
    """Writes `confusion_matrix.png`, and `mistakes.png` if there are mistakes.

    Args:
        folder: output folder, created if missing.
        items: the test items.
        classes: class names.
        probabilities: (n, classes), one row per item.

    Returns:
        The paths of the written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.array([item.label for item in items])
    matrix = confusion(truth, probabilities.argmax(1), len(classes))
    written = [save_figure(draw_confusion(matrix, classes), folder / CONFUSION_NAME)]
    if (probabilities.argmax(1) != truth).any():
        written.append(save_figure(draw_mistakes(items, classes, probabilities), folder / MISTAKES_NAME))
    return written


def draw_confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A confusion matrix with counts, coloured by the share of each row: correct in teal, mistakes in orange.

    Args:
        matrix: (classes, classes): entry (i, j) counts items of class i that were predicted as class j.
        classes: names.
    """
    n = len(classes)
    totals = matrix.sum(1)
    shares = matrix / np.maximum(totals, 1)[:, None]
    cell = 0.34 if n > 20 else 0.46
    label = 0.085 * max(map(len, classes)) + 0.5
    width, height = n * cell + label + 0.9, n * cell + label + 1.0
    figure = Figure(figsize=(max(width, 6.0), height))
    axes = figure.add_axes((label / max(width, 6.0), label / height, n * cell / max(width, 6.0), n * cell / height))
    diagonal = np.eye(n, dtype=bool)
    depths = np.where(diagonal, shares, np.minimum(shares / WORST_SHARE, 1))
    colours = np.where(diagonal[..., None], RIGHT(depths), WRONG(depths))
    axes.imshow(colours, interpolation="nearest", aspect="auto")
    size = 6.5 if n > 20 else 8
    for i, j in np.argwhere(matrix > 0):
        colour = "white" if depths[i, j] > DARK_SHARE else INK
        axes.text(j, i, f"{matrix[i, j]}", ha="center", va="center", fontsize=size, color=colour)
    for i in range(n):
        share = f"{shares[i, i]:.0%}" if totals[i] else "–"
        axes.text(n - 0.3, i, share, ha="left", va="center", fontsize=size + 1, color=RIGHT_COLOUR)
    axes.text(n - 0.3, -0.85, "correct", ha="left", va="center", fontsize=size + 1, color=RIGHT_COLOUR)
    axes.set_xticks(range(n), classes, rotation=90, fontsize=size + 1.5)
    axes.set_yticks(range(n), classes, fontsize=size + 1.5)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e2ddd3", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_color("#c9c3b6")
    axes.set_xlabel("predicted", fontsize=10, color=SOFT)
    axes.set_ylabel("class", fontsize=10, color=SOFT)
    right, total = int(np.trace(matrix)), int(totals.sum())
    heading = f"{right} of {total} test images correct, {right / max(total, 1):.1%}"
    figure.text(0.12 / max(width, 6.0), 1 - 0.25 / height, heading, fontsize=12, weight="bold", color=INK, va="top")
    return figure


def worst_mistakes(truth: NDArray[np.int64], probabilities: NDArray[np.float32], most: int) -> list[int]:
    """Row indices of at most `most` wrong predictions, most confident first."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != truth)
    order = np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")
    return [int(row) for row in wrong[order[:most]]]


def draw_mistakes(
    items: Sequence[SceneItem], classes: Sequence[str], probabilities: NDArray[np.float32], most: int = MOST_MISTAKES
) -> Figure:
    """The most confident wrong predictions, each with image, true class and predicted class."""
    truth = np.array([item.label for item in items])
    rows = worst_mistakes(truth, probabilities, most)
    num_wrong = int((probabilities.argmax(1) != truth).sum())
    columns = min(SHEET_COLUMNS, max(3, len(rows)))
    lines = -(-len(rows) // columns)
    width, height = columns * 2.05 + 0.2, lines * 2.72 + 0.75
    figure = Figure(figsize=(width, height))
    shown = f"All {num_wrong}" if len(rows) == num_wrong else f"The {len(rows)} most confident of {num_wrong}"
    heading = f"{shown} mistakes on {len(items)} test images, the most confident first"
    figure.text(0.1 / width, 1 - 0.2 / height, heading, fontsize=12, weight="bold", color=INK, va="top")
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        left, top = 0.1 + column * 2.05, 0.62 + line * 2.72
        axes = figure.add_axes((left / width, 1 - (top + 1.9) / height, 1.9 / width, 1.9 / height))
        axes.axis("off")
        axes.imshow(thumbnail(items[row]), aspect="auto")
        best = int(probabilities[row].argmax())
        captions = [
            (shortened(classes[truth[row]]), f"{probabilities[row, truth[row]]:.0%}", RIGHT_COLOUR),
            (f"predicted {shortened(classes[best])}", f"{probabilities[row, best]:.0%}", WRONG_COLOUR),
        ]
        for number, (text, share, colour) in enumerate(captions):
            y = 1 - (top + 2.02 + 0.19 * number) / height
            figure.text(left / width, y, text, fontsize=7.8, color=colour, va="center")
            figure.text((left + 1.9) / width, y, share, fontsize=7.8, color=colour, ha="right", va="center")
        key = shortened(items[row].path.name, 34)
        figure.text(left / width, 1 - (top + 2.4) / height, key, fontsize=6, color=SOFT, va="center")
    return figure


def thumbnail(item: SceneItem, side: int = THUMBNAIL_PIXELS) -> NDArray[np.uint8]:
    """An item's image as a (side, side, 3) square; grey if it can no longer be read."""
    try:
        image = item.load()
    except RejectedPair:
        return np.full((side, side, 3), 200, np.uint8)
    interpolation = cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=interpolation).astype(np.uint8)


def shortened(text: str, most: int = LABEL_CHARACTERS) -> str:
    """Shortens a text to at most `most` characters, ending in an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG; a file that is there is replaced whole."""
    write_bytes_atomically(path, png_of(figure))
    return path


def png_of(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    # No date or version in the file, so that equal results give equal bytes.
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
