"""Opens rasters (TIFF, JPEG 2000, 16-bit PNG) with GDAL, and reads the chosen bands as 8-bit RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shards.decoding.raster_scales import mapped_to_8_bits, percentile_range, spaced_values
from shards.decoding.validity import valid_pixels
from shards.errors import RejectedPair
from shards.raster_settings import RasterSettings

if TYPE_CHECKING:
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_2000_SIGNATURES = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
"""Of a JP2 file and of a bare codestream."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH_OFFSET = 24

ALONE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
}
"""GDAL's settings under which it opens no file but the raster: otherwise it reads masks (.msk), overviews (.ovr),
statistics (.aux.xml) and world files beside it, with whatever driver their content asks for."""

SCALED = "no scale for image"
"""Reason of the rejection of a raster that needs a scale where the corpus has given none."""


def raster_driver(path: Path) -> str | None:
    """GDAL's driver for a raster, detected from the content; None for formats that Pillow reads.

    Raises:
        RejectedPair: "missing image".
    """
    if not path.is_file():
        raise RejectedPair("missing image", f"{path.name}: no such file")
    with path.open("rb") as file:
        head = file.read(PNG_BIT_DEPTH_OFFSET + 1)
    if head.startswith(TIFF_SIGNATURES):
        return "GTiff"
    if head.startswith(JPEG_2000_SIGNATURES):
        return "JP2OpenJPEG"
    return "PNG" if head.startswith(PNG_SIGNATURE) and head[PNG_BIT_DEPTH_OFFSET:] == b"\x10" else None


@contextmanager
def opened_raster(path: Path, driver: str) -> Iterator[DatasetReader]:
    """Opens a raster and no other file; GDAL's errors, also while it is read, become a `RejectedPair`."""
    import rasterio  # here, because a training process that only decodes JPEGs needs no GDAL
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings(), rasterio.Env(**ALONE):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver=driver) as raster:
                yield raster
    except (RasterioError, CRSError, CPLE_BaseError, OSError, ValueError) as error:
        raise image_rejection(path, error) from error


def check_values(path: Path, raster: DatasetReader, max_raster_bytes: int | None) -> None:
    """Checks the types of the bands and their bytes uncompressed.

    Raises:
        RejectedPair: "undecodable image".
    """
    types = [np.dtype(name) for name in raster.dtypes]
    if any(np.issubdtype(kind, np.complexfloating) for kind in types):
        raise RejectedPair("undecodable image", f"{path.name}: complex values are not supported")
    needed = raster.width * raster.height * sum(kind.itemsize for kind in types)
    if max_raster_bytes is not None and needed > max_raster_bytes:
        raise RejectedPair(
            "undecodable image",
            f"{path.name}: {needed / 1e6:.0f} MB uncompressed, limit {max_raster_bytes / 1e6:.0f} MB",
        )


def raster_rgb(path: Path, raster: DatasetReader, settings: RasterSettings) -> npt.NDArray[np.uint8]:
    """The chosen bands as uint8 (height, width, 3); pixels without data are black.

    Raises:
        RejectedPair: "missing image band", or "no scale for image" (see `RasterSettings.scale_by`).
    """
    bands = chosen_bands(path, raster, settings)
    palette = _palette(raster)
    if palette is not None:
        valid = valid_pixels(raster, bands, zero_is_black=False)
        rgb = palette[raster.read(1)]
        rgb[~valid] = 0
        return rgb
    if not needs_scale(raster, bands, settings):
        return _as_they_are(raster, bands)
    if settings.scale_range is None and settings.scale_by == "corpus":
        raise RejectedPair(
            SCALED,
            f"{path.name}: {raster.dtypes[bands[0] - 1]} values, but none of the images sampled for the corpus's "
            "scale had more than 8 bits; give --scale-range LOW HIGH",
        )
    values = _measured(raster, bands)
    valid = valid_values(raster, values)
    scale = settings.scale_range or percentile_range(spaced_values([values[band] for band in bands], valid))
    channels = {band: mapped_to_8_bits(values[band], valid, scale) for band in values}
    return np.stack([channels[band] for band in bands], axis=-1)


def needs_scale(raster: DatasetReader, bands: tuple[int, int, int], settings: RasterSettings) -> bool:
    """Whether values are mapped: all types but 8 bits, and these too where a range for them was given."""
    is_8_bits = all(raster.dtypes[band - 1] == "uint8" for band in bands)
    return not is_8_bits or settings.maps_8_bits


def scaled_sample(
    path: Path, settings: RasterSettings, *, max_side: int, max_pixels: int
) -> npt.NDArray[np.float64] | None:
    """Evenly spaced valid values of the central square of a raster, of the three bands together.

    Args:
        path: the file.
        settings: the bands.
        max_side: side of the square in pixels, at most.
        max_pixels: pixels a band, at most.

    Returns:
        (n,) values in the units of the band; None if the image needs no scale.

    Raises:
        RejectedPair: the file is missing, can't be decoded, or lacks a band.
    """
    from rasterio.windows import Window

    driver = raster_driver(path)
    if driver is None:
        return None
    with opened_raster(path, driver) as raster:
        check_values(path, raster, None)
        bands = chosen_bands(path, raster, settings)
        if _palette(raster) is not None or not needs_scale(raster, bands, settings):
            return None
        side = min(raster.width, raster.height, max_side)
        window = Window((raster.width - side) // 2, (raster.height - side) // 2, side, side)
        values = _measured(raster, bands, window)
        valid = valid_values(raster, values, window)
        return spaced_values([values[band] for band in bands], valid, max_pixels).astype(np.float64)


def valid_values(
    raster: DatasetReader, values: dict[int, npt.NDArray[Any]], window: Window | None = None
) -> npt.NDArray[np.bool_]:
    """Which pixels have data in all chosen bands, (height, width); NaN and infinity are no data."""
    valid = valid_pixels(raster, tuple(values), zero_is_black=False, window=window)
    for band in values.values():
        if np.issubdtype(band.dtype, np.floating):
            valid &= np.isfinite(band)
    return valid


def chosen_bands(path: Path, raster: DatasetReader, settings: RasterSettings) -> tuple[int, int, int]:
    """The bands for red, green and blue; a raster of one or two bands is grey unless others were chosen.

    Raises:
        RejectedPair: "missing image band".
    """
    bands = settings.bands
    if raster.count <= 2 and bands == (1, 2, 3):
        return (1, 1, 1)
    if max(bands) > raster.count:
        raise RejectedPair(
            "missing image band",
            f"{path.name}: band {max(bands)} of {raster.count}; red, green and blue are the bands "
            f"{', '.join(map(str, bands))}: choose others with --bands",
        )
    return bands


def _as_they_are(raster: DatasetReader, bands: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """8-bit bands without a scale."""
    valid = valid_pixels(raster, bands, zero_is_black=True)
    values = _read(raster, bands)
    rgb = np.stack([values[band] for band in bands], axis=-1)
    if raster.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        rgb = 255 - rgb
    rgb[~valid] = 0
    return rgb


def _measured(
    raster: DatasetReader, bands: tuple[int, int, int], window: Window | None = None
) -> dict[int, npt.NDArray[Any]]:
    """The bands in the units that their metadata state, (height, width) each: value · scale + offset.

    So Sentinel-2 products before and after baseline 04.00, which adds 1,000 to every value, agree where their files say
    so; nothing is guessed where they don't.
    """
    measured = _read(raster, bands, window)
    for band, values in measured.items():
        scale, offset = raster.scales[band - 1], raster.offsets[band - 1]
        if (scale, offset) != (1.0, 0.0):
            measured[band] = values.astype(np.promote_types(values.dtype, np.float32)) * scale + offset
    return measured


def _read(
    raster: DatasetReader, bands: tuple[int, int, int], window: Window | None = None
) -> dict[int, npt.NDArray[Any]]:
    """The bands as stored, (height, width) each; together, because most files hold them pixel by pixel."""
    distinct = list(dict.fromkeys(bands))
    if len({raster.dtypes[band - 1] for band in distinct}) == 1:
        return dict(zip(distinct, raster.read(distinct, window=window), strict=True))
    return {band: raster.read(band, window=window) for band in distinct}


def _palette(raster: DatasetReader) -> npt.NDArray[np.uint8] | None:
    """The colour table of a raster of one band, uint8 (values, 3), or None; transparent colours are black."""
    if raster.count != 1 or raster.dtypes[0] not in ("uint8", "uint16"):
        return None
    try:
        table = raster.colormap(1)
    except ValueError:  # raised by rasterio if there is no colour table
        return None
    palette = np.zeros((np.iinfo(raster.dtypes[0]).max + 1, 3), np.uint8)
    for index, (*colour, alpha) in table.items():
        palette[index] = colour if alpha else (0, 0, 0)
    return palette if table else None


def image_rejection(path: Path, error: BaseException) -> RejectedPair:
    """Converts a decoder's error to a rejection, "truncated image" or "undecodable image"."""
    cause = error.__cause__ or error.__context__
    message = f"{error} ({cause})" if cause is not None else str(error)
    cut_short = isinstance(error, EOFError) or "truncated" in message.lower()
    message = " ".join(message.replace(str(path), path.name).split())
    return RejectedPair("truncated image" if cut_short else "undecodable image", f"{path.name}: {message}")
