"""Small rasters for tests, written by rasterio."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth picture whose channels and axes differ, uint8 (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([255 * rows // height, 255 * columns // width, 128 + 0 * rows], axis=-1).astype(np.uint8)


def bands_of(rgb: np.ndarray) -> np.ndarray:
    """(height, width, bands) → (bands, height, width), as rasterio writes them."""
    return np.ascontiguousarray(np.moveaxis(rgb, -1, 0))


def write_raster(path: Path, bands: np.ndarray, driver: str = "GTiff", **options: object) -> Path:
    """Writes (bands, height, width)."""
    count, height, width = bands.shape
    profile = {"driver": driver, "count": count, "height": height, "width": width, "dtype": bands.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(bands)
    return path
