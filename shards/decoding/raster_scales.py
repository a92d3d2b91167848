"""Maps raster values of any type to 8 bits: a range, and the percentiles from which it is taken where none is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

STRETCH_PERCENTILES = (2.0, 98.0)
MAX_STRETCH_PIXELS = 2**22
"""Percentiles of larger images are computed from at most this many evenly spaced pixels."""

PIXELS_AT_ONCE = 2**20
"""Pixels that are mapped together, so that a large image needs no second copy in floating point."""


def percentile_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The 2nd and 98th percentile; (v, v + 1) if both are the same value v, and (0, 1) of no values."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, STRETCH_PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def spaced_values(
    bands: Sequence[npt.NDArray[Any]], valid: npt.NDArray[np.bool_], max_pixels: int = MAX_STRETCH_PIXELS
) -> npt.NDArray[Any]:
    """The values of evenly spaced valid pixels, at most about `max_pixels` a band.

    Args:
        bands: (height, width) each.
        valid: (height, width); the other pixels don't count.
        max_pixels: limit for each band.

    Returns:
        One dimension, all bands one after the other.
    """
    step = max(1, int(np.ceil(np.sqrt(valid.size / max_pixels))))
    chosen = valid[::step, ::step]
    return np.concatenate([band[::step, ::step][chosen] for band in bands])


def mapped_to_8_bits(
    band: npt.NDArray[Any], valid: npt.NDArray[np.bool_], scale_range: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """Maps values linearly, (low, high) to (0, 255), clipped; pixels that are not valid become 0."""
    low, high = scale_range
    mapped = np.empty(band.shape, np.uint8)
    rows = max(1, PIXELS_AT_ONCE // max(1, band.shape[1]))
    for top in range(0, len(band), rows):
        part = slice(top, top + rows)
        # The difference before the cast: values far from 0 differ by less than float32 resolves.
        above = (np.where(valid[part], band[part], low) - low).astype(np.float32)
        mapped[part] = np.clip(np.rint(above * np.float32(255.0 / (high - low))), 0, 255)
    return mapped
