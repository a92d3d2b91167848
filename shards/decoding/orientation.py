"""Turns rasters upright: by a TIFF's orientation tag, or so that north is up by the georeference."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from shards.errors import RejectedPair

if TYPE_CHECKING:
    from rasterio.transform import Affine

ORIENTATION_TAG = 274
BIG_TIFF = 43
MAX_ENTRIES = 4096

MAX_RESAMPLED_SIDE = 2**15 - 2
"""OpenCV resamples images of up to this side, in pixels."""


def turned_by_tag(rgb: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Turns an image as viewers show it, (height, width, 3); `orientation` is TIFF's and EXIF's, 1 to 8."""
    if orientation >= 5:
        rgb = rgb.swapaxes(0, 1)
    # After the swap: 5 is done, 6 and 7 have the columns reversed, 7 and 8 the rows.
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb)


def turned_north_up(path: Path, rgb: npt.NDArray[np.uint8], transform: Affine) -> npt.NDArray[np.uint8]:
    """Turns an image so that its coordinates grow to the right and upwards.

    Flips and right angles move pixels. Other angles are resampled bilinearly to pixels of the same area; corners that
    the raster does not cover are black. An angle that moves no pixel by half its side is left alone.

    Args:
        path: the file, for messages.
        rgb: (height, width, 3).
        transform: from (column, row) to coordinates.

    Raises:
        RejectedPair: "undecodable image": the raster is at an angle and too large to be resampled.
    """
    height, width = rgb.shape[:2]
    a, b, _, d, e, _ = transform[:6]
    half = math.sqrt(abs(transform.determinant)) / 2
    if abs(a) * width < half and abs(e) * height < half:
        rgb, a, e = rgb.swapaxes(0, 1), b, d
    elif not (abs(b) * height < half and abs(d) * width < half):
        return _resampled_north_up(path, rgb, transform)
    if a < 0:
        rgb = rgb[:, ::-1]
    if e > 0:
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb)


def _resampled_north_up(path: Path, rgb: npt.NDArray[np.uint8], transform: Affine) -> npt.NDArray[np.uint8]:
    import cv2
    from rasterio.transform import Affine

    height, width = rgb.shape[:2]
    side = math.sqrt(abs(transform.determinant))
    corners = [transform * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    xs, ys = zip(*corners, strict=True)
    size = [max(1, round((max(values) - min(values)) / side)) for values in (xs, ys)]
    if max(*size, width, height) > MAX_RESAMPLED_SIDE:
        raise RejectedPair(
            "undecodable image",
            f"{path.name}: a raster at an angle to north, of {width} × {height} pixels; only up to "
            f"{MAX_RESAMPLED_SIDE} a side can be resampled; warp it to north up",
        )
    upright = Affine(side, 0, min(xs), 0, -side, max(ys))
    # OpenCV counts from the centres of pixels, a transform from their corners.
    to_source = Affine.translation(-0.5, -0.5) * ~transform * upright * Affine.translation(0.5, 0.5)
    matrix = np.array(to_source[:6]).reshape(2, 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(rgb, matrix, (size[0], size[1]), flags=flags).astype(np.uint8, copy=False)


def tiff_orientation(path: Path) -> int:
    """The orientation tag of a TIFF's first image, 1 to 8; 1 where it has none. GDAL does not read this tag."""
    try:
        with path.open("rb") as file:
            orientation = _read_orientation(file)
    except (OSError, struct.error):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _read_orientation(file: BinaryIO) -> int:
    head = file.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", head, 2) == (BIG_TIFF,)
    file.seek(struct.unpack_from(f"{order}Q", head, 8)[0] if big else struct.unpack_from(f"{order}I", head, 4)[0])
    count_format, entry_bytes, value_offset = ("Q", 20, 12) if big else ("H", 12, 8)
    count_bytes = struct.calcsize(f"{order}{count_format}")
    (count,) = struct.unpack(f"{order}{count_format}", file.read(count_bytes))
    for _ in range(min(count, MAX_ENTRIES)):
        entry = file.read(entry_bytes)
        if struct.unpack_from(f"{order}H", entry) == (ORIENTATION_TAG,):
            return int(struct.unpack_from(f"{order}H", entry, value_offset)[0])
    return 1
