"""Figures of a classifier's test: confusion matrix and a sheet of the worst mistakes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from downstream.running.confusion_picture import INK, SOFT, Confusion, draw_confusions
from downstream.running.items import SceneItem
from downstream.scores import confusion
from shards.atomic_files import write_bytes_atomically
from shards.errors import RejectedPair

CONFUSION_NAME = "confusion_matrix.png"
MISTAKES_NAME = "mistakes.png"

RIGHT_COLOUR, WRONG_COLOUR = "#0f6e84", "#b4541a"

MOST_MISTAKES = 24
SHEET_COLUMNS = 6
THUMBNAIL_PIXELS = 224
LABEL_CHARACTERS = 20
DOTS_PER_INCH = 110


def write_pictures(
    folder: Path,
    items: Sequence[SceneItem],
    classes: Sequence[str],
    probabilities: NDArray[np.float32],
    margins: Margins | None = None,
) -> list[Path]:
    """Writes `confusion_matrix.png`, and `mistakes.png` if there are mistakes.

    Args:
        folder: output folder, created if missing.
        items: the test items.
        classes: class names.
        probabilities: (n, classes), one row per item.
        margins: order of the mistakes; by default they are ordered by probability, see `worst_mistakes`.

    Returns:
        The paths of the written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.array([item.label for item in items])
    matrix = confusion(truth, probabilities.argmax(1), len(classes))
    written = [save_figure(draw_confusion(matrix, classes), folder / CONFUSION_NAME)]
    if (probabilities.argmax(1) != truth).any():
        figure = draw_mistakes(items, classes, probabilities, margins=margins)
        written.append(save_figure(figure, folder / MISTAKES_NAME))
    return written


def draw_confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A confusion matrix with counts, coloured by the share of each row; see `draw_confusions`.

    Args:
        matrix: (classes, classes): entry (i, j) counts items of class i that were predicted as class j.
        classes: names.
    """
    right, total = int(np.trace(matrix)), int(matrix.sum())
    heading = f"{right} of {total} test images correct, {right / max(total, 1):.1%}"
    return draw_confusions([Confusion(heading, matrix)], classes)


@dataclass(frozen=True)
class Margins:
    """By what mistakes are ordered, where probabilities can't tell them apart.

    Attributes:
        values: (n,) of each test item; the greater, the worse a mistake.
        words: what they are, for the picture.
    """

    values: NDArray[np.float64]
    words: str


CONFIDENCE = "probability of the predicted class"


def worst_mistakes(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    most: int,
    margins: Margins | None = None,
) -> list[int]:
    """Row indices of at most `most` wrong predictions, the worst first.

    By the margins, if there are; else by the probability of the predicted class, and among equals by how little is left
    to the true class.
    """
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != truth)
    if margins is not None:
        order = np.argsort(-margins.values[wrong], kind="stable")
    else:
        order = np.lexsort((probabilities[wrong, truth[wrong]], -probabilities[wrong, predicted[wrong]]))
    return [int(row) for row in wrong[order[:most]]]


def draw_mistakes(
    items: Sequence[SceneItem],
    classes: Sequence[str],
    probabilities: NDArray[np.float32],
    most: int = MOST_MISTAKES,
    margins: Margins | None = None,
) -> Figure:
    """The worst wrong predictions, each with image, true class and predicted class; the heading says their order."""
    truth = np.array([item.label for item in items])
    rows = worst_mistakes(truth, probabilities, most, margins)
    num_wrong = int((probabilities.argmax(1) != truth).sum())
    columns = min(SHEET_COLUMNS, max(3, len(rows)))
    lines = -(-len(rows) // columns)
    width, height = columns * 2.05 + 0.2, lines * 2.72 + 0.95
    figure = Figure(figsize=(width, height))
    shown = f"All {num_wrong}" if len(rows) == num_wrong else f"The {len(rows)} worst of {num_wrong}"
    heading = f"{shown} mistakes on {len(items)} test images"
    figure.text(0.1 / width, 1 - 0.2 / height, heading, fontsize=12, weight="bold", color=INK, va="top")
    order = f"worst first, by the {margins.words if margins else CONFIDENCE}"
    figure.text(0.1 / width, 1 - 0.44 / height, order, fontsize=8.5, color=SOFT, va="top")
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        left, top = 0.1 + column * 2.05, 0.82 + line * 2.72
        axes = figure.add_axes((left / width, 1 - (top + 1.9) / height, 1.9 / width, 1.9 / height))
        axes.axis("off")
        axes.imshow(thumbnail(items[row]), aspect="auto")
        best = int(probabilities[row].argmax())
        captions = [
            (shortened(classes[truth[row]]), f"{probabilities[row, truth[row]]:.0%}", RIGHT_COLOUR),
            (f"predicted {shortened(classes[best])}", f"{probabilities[row, best]:.0%}", WRONG_COLOUR),
            *([("margin", f"{margins.values[row]:.3f}", SOFT)] if margins else []),
        ]
        for number, (text, share, colour) in enumerate(captions):
            y = 1 - (top + 2.02 + 0.19 * number) / height
            figure.text(left / width, y, text, fontsize=7.8, color=colour, va="center")
            figure.text((left + 1.9) / width, y, share, fontsize=7.8, color=colour, ha="right", va="center")
        key = shortened(items[row].path.name, 34)
        y = 1 - (top + (2.58 if margins else 2.4)) / height
        figure.text(left / width, y, key, fontsize=6, color=SOFT, va="center")
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
