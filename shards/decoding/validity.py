"""Which pixels of a raster have data: no-data values and masks of the chosen bands, and real transparency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

FULL_ALPHA = {"uint8": (255,), "uint16": (255, 65535), "int16": (255, 32767), "float32": (1, 255), "float64": (1, 255)}
"""Values of opaque pixels, by the type of the band; GDAL's warper writes 255, 32767 or 65535."""

ALPHA_TOLERANCE = 0.05
"""Lossy compression moves alpha by up to this share of the full value."""

MIN_OPAQUE_SHARE = 0.9
"""Of the pixels that are not transparent, at least this share is opaque; the rest are soft edges."""


def valid_pixels(
    raster: DatasetReader, bands: Sequence[int], *, zero_is_black: bool, window: Window | None = None
) -> npt.NDArray[np.bool_]:
    """Which pixels have data in all chosen bands and are not transparent.

    A pixel without data in one of the bands has none, whatever the others say (rasterio's `dataset_mask` takes the OR).
    GDAL takes any band tagged as alpha for transparency, and tags the fourth of four bands so unless told otherwise. In
    aerial imagery that band is infrared, which is 0 over water: see `is_transparency`.

    Args:
        raster: an open raster.
        bands: the chosen bands, counted from 1.
        zero_is_black: whether 0 becomes black anyway, so that a no-data value of 0 needs no mask: then (0, 80, 120)
            keeps its green and blue.
        window: the part to read; None: the whole.

    Returns:
        (height, width).
    """
    from rasterio.enums import MaskFlags

    shape = raster.shape if window is None else (int(window.height), int(window.width))
    valid = np.ones(shape, np.bool_)
    for band in dict.fromkeys(bands):
        flags = raster.mask_flag_enums[band - 1]
        if MaskFlags.all_valid in flags or MaskFlags.alpha in flags:
            continue
        if zero_is_black and MaskFlags.nodata in flags and raster.nodatavals[band - 1] == 0:
            continue
        valid &= raster.read_masks(band, window=window) > 0
    alpha = _alpha_band(raster, bands)
    if alpha is not None:
        opacity = raster.read(alpha, window=window)
        full = _full_value(opacity)
        # In a PNG a fourth channel can be nothing but alpha.
        if raster.driver == "PNG" or is_transparency(opacity):
            valid &= opacity >= full / 2
    return valid


def is_transparency(values: npt.NDArray[Any]) -> bool:
    """Whether the values of a band tagged as alpha are those of transparency.

    They are if some pixel is opaque (the highest value of the type, or 255, or 1.0), and of the pixels that are not
    transparent at least 90 % are; infrared has all values between. A band without an opaque pixel would hide the whole
    image, so it is something else, such as infrared of open water.
    """
    full = _full_value(values)
    seen = values > ALPHA_TOLERANCE * full
    opaque = np.count_nonzero(values >= (1 - ALPHA_TOLERANCE) * full)
    return bool(opaque > 0 and opaque >= MIN_OPAQUE_SHARE * np.count_nonzero(seen))


def _full_value(values: npt.NDArray[Any]) -> float:
    """The value of an opaque pixel: the smallest usual one that is not below the band's highest."""
    highest = values.max(initial=0)
    usual = FULL_ALPHA.get(values.dtype.name, ())
    if not usual and np.issubdtype(values.dtype, np.integer):
        usual = (int(np.iinfo(values.dtype).max),)
    return float(next((value for value in usual if value >= highest), np.inf))


def _alpha_band(raster: DatasetReader, bands: Sequence[int]) -> int | None:
    """The band tagged as alpha, unless it is one of the chosen ones."""
    from rasterio.enums import ColorInterp

    tagged = [i for i, colour in enumerate(raster.colorinterp, start=1) if colour == ColorInterp.alpha]
    return next((band for band in tagged if band not in bands), None)
