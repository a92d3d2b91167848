"""A rotated grid of cells, for field parcels, building lots and the like."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shards.demo_world.canvas import Canvas, Plane, Stencil


class Lattice:
    """Cells of `width` by `depth` pixels, rotated by `angle`, with random properties per cell.

    Attributes:
        cell: index of each pixel's cell, shape (size, size).
        along, across: position of each pixel relative to the centre of its cell, pixels.
        centre_row, centre_column: the pixel at each cell's centre, shape (number of cells,).
    """

    def __init__(
        self, canvas: Canvas, generator: np.random.Generator, *, angle: float, width: float, depth: float
    ) -> None:
        self._generator = generator
        reach = canvas.size * 0.75
        columns, rows = math.ceil(2 * reach / width) + 1, math.ceil(2 * reach / depth) + 1
        along, across = canvas.turned(angle)
        along = along + np.float32(reach + generator.uniform(0, width))
        across = across + np.float32(reach + generator.uniform(0, depth))
        column, row = (along / width).astype(np.int32), (across / depth).astype(np.int32)
        self.cell: NDArray[np.intp] = (row * columns + column).astype(np.intp)
        self.along: Plane = along - (column + np.float32(0.5)) * np.float32(width)
        self.across: Plane = across - (row + np.float32(0.5)) * np.float32(depth)
        self.num_cells = columns * rows
        self._locate_centres(canvas, angle, columns, along[0, 0], across[0, 0], width, depth)

    def _locate_centres(
        self, canvas: Canvas, angle: float, columns: int, along0: float, across0: float, width: float, depth: float
    ) -> None:
        cells = np.arange(self.num_cells)
        along = (cells % columns + 0.5) * width - along0
        across = (cells // columns + 0.5) * depth - across0
        column = along * math.cos(angle) - across * math.sin(angle)
        row = along * math.sin(angle) + across * math.cos(angle)
        self.centre_row = np.clip(row, 0, canvas.size - 1).astype(np.int32)
        self.centre_column = np.clip(column, 0, canvas.size - 1).astype(np.int32)

    def at_centre(self, stencil: Stencil) -> Stencil:
        """For each pixel, whether the centre of its cell lies in `stencil`."""
        return np.asarray(stencil[self.centre_row, self.centre_column].take(self.cell))

    def uniform(self, low: float, high: float) -> Plane:
        """A random number per cell, for all of its pixels."""
        return self._generator.uniform(low, high, self.num_cells).astype(np.float32).take(self.cell)

    def chance(self, probability: float) -> Stencil:
        """The pixels of randomly selected cells."""
        return (self._generator.random(self.num_cells) < probability).take(self.cell)

    def pick(self, colours: NDArray[np.float32], spread: float) -> Plane:
        """A random colour of `colours` (n, 3) per cell, with brightness varied by `spread`; shape (size, size, 3)."""
        chosen = colours[self._generator.integers(len(colours), size=self.num_cells)]
        brightness = 1 + spread * self._generator.standard_normal((self.num_cells, 1))
        return (chosen * brightness).astype(np.float32).take(self.cell, axis=0)
