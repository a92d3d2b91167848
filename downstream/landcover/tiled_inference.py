"""Class maps of whole tiles, or by overlapping windows, whose memory is that of one window and one row of windows."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from downstream.landcover.kind import MULTIPLE

Predict = Callable[[Tensor], Tensor]
"""(1, 3, height, width) uint8 → class probabilities (1, classes, height, width) float32, on the network's device."""


def window_starts(length: int, window: int, overlap: int) -> list[int]:
    """Where windows begin along a side: evenly spread, the last one ends at `length`, neighbours share `overlap`
    pixels or more.

    Args:
        length: of the side, >= window.
        window: of a window.
        overlap: in [0, window).
    """
    if length == window:
        return [0]
    count = -(-(length - window) // (window - overlap)) + 1
    return [round(i * (length - window) / (count - 1)) for i in range(count)]


def predict_tile(predict: Predict, rgb: NDArray[np.uint8], *, window: int, overlap: int) -> NDArray[np.uint8]:
    """The most probable class of every pixel of a tile.

    Where windows overlap, their probabilities are averaged, with weights that fall towards a window's border, for a
    network knows least about what lies there. Windows go row by row, and what no later row touches is settled at once.

    Args:
        predict: the network.
        rgb: (height, width, 3) uint8, of any size.
        window: side of a window in pixels, a multiple of 16; 0: one window for the tile. A smaller tile is mirrored to
            the next such multiple.
        overlap: pixels that neighbouring windows share at least.

    Returns:
        (height, width) uint8 labels.
    """
    height, width = rgb.shape[:2]
    whole = [-(-side // MULTIPLE) * MULTIPLE for side in (height, width)]
    window_height, window_width = (min(window, side) if window else side for side in whole)
    below, right = max(0, window_height - height), max(0, window_width - width)
    if below or right:
        rgb = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REFLECT_101).astype(np.uint8)
    rows = window_starts(rgb.shape[0], window_height, min(overlap, window_height - 1))
    columns = window_starts(rgb.shape[1], window_width, min(overlap, window_width - 1))
    labels = np.empty(rgb.shape[:2], dtype=np.uint8)
    band: Tensor | None = None
    for row, top in enumerate(rows):
        for left in columns:
            part = np.ascontiguousarray(rgb[top : top + window_height, left : left + window_width].transpose(2, 0, 1))
            probabilities = predict(torch.from_numpy(part)[None])[0]
            if band is None:
                band = probabilities.new_zeros(len(probabilities), window_height, rgb.shape[1])
                weights = _weights(window_height, window_width, overlap).to(band.device)
            # Sums of weighted probabilities have the same largest class as their average.
            band[:, :, left : left + window_width] += probabilities * weights
        assert band is not None
        settled = (rows[row + 1] if row + 1 < len(rows) else rgb.shape[0]) - top
        labels[top : top + settled] = band[:, :settled].argmax(0).to(torch.uint8).cpu().numpy()
        band = torch.cat([band[:, settled:], torch.zeros_like(band[:, :settled])], dim=1)
    return labels[:height, :width]


def _weights(height: int, width: int, overlap: int) -> Tensor:
    """(height, width), 1 in the middle, falling linearly over the last `overlap` pixels before a border."""

    def ramp(length: int) -> Tensor:
        from_border = torch.minimum(torch.arange(length), torch.arange(length).flip(0)) + 1.0
        return (from_border / (overlap + 1)).clamp(max=1)

    return ramp(height)[:, None] * ramp(width)
