"""Panels of the report's exhibits: pictures that runs left, read and placed in a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from shards.errors import UserError


def read_panel(path: Path, most_pixels: int) -> NDArray[np.uint8]:
    """Reads a picture that a run left for the report, (height, width, 3) uint8 RGB.

    Args:
        path: of a PNG.
        most_pixels: of its longer side.

    Raises:
        UserError: it can't be read, or is larger.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if max(picture.size) > most_pixels:
                raise UserError(f"{path} must have at most {most_pixels} pixels a side, got {max(picture.size)}")
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} can't be read as a PNG: {error}; run the benchmark again") from error


def add_panel(figure: Figure, pixels: NDArray[np.uint8], *, left: float, top: float, side: float) -> Axes:
    """Shows pixels in a figure, without axes, in a square that is placed in inches from its top left corner."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))
    axes.imshow(pixels, interpolation="antialiased")
    axes.axis("off")
    return axes
