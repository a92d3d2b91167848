"""Imagery from a cloud-optimised GeoTIFF, local or remote: GDAL reads the blocks that a square needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from shards.collecting.imagery import Access, ImagerySource, NoImagery, Picture, filled, is_plain
from shards.collecting.mercator import Square
from shards.collecting.web import WEB_SCHEMES, Refused
from shards.decoding.rasters import ALONE
from shards.errors import RejectedPair, UserError, first_line

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

LEAST_COVERED = 0.5
"""Share of a square that must have data."""


class CogSource(ImagerySource):
    """A GeoTIFF (`--cog`)."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._template = str(access.options.cog)
        if not is_web(self._template) and not Path(self._template).is_file():
            raise UserError(f"--cog {self._template}: no such file, and no http or https address")

    @property
    def provider(self) -> str:
        """The address without its query, or the name of the file."""
        return provider_of(self._template)

    def num_requests(self, square: Square) -> int:  # noqa: ARG002 - about the same for all
        """A few blocks of a remote file."""
        return 3 if is_web(self._template) else 0

    def picture(self, square: Square) -> Picture:
        """Warps the bands of the file."""
        place = (
            filled(self._template, {"key": quote(self.access.key, safe="")})
            if is_web(self._template)
            else self._template
        )
        return read_square(self.access, place, square)


def read_square(access: Access, place: str, square: Square) -> Picture:
    """The square of a GeoTIFF, by cubic convolution; pixels without data are black.

    Args:
        access: the options say which bands; a remote file is asked for at the client's rate, GDAL's own requests for
            its blocks aside.
        place: a file or an address.
        square: what to read.

    Raises:
        NoImagery: less than half of the square has data.
        RejectedPair: the square can't be shown.
        Refused: the file can't be read.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    square.check()
    if square.crosses_antimeridian:
        raise RejectedPair("crosses the antimeridian", f"longitude {square.longitude:g}: a raster ends there")
    if is_web(place):
        access.web.pace()
    settings = access.web.settings
    environment = {
        **ALONE,
        "GDAL_HTTP_USERAGENT": settings.user_agent,
        "GDAL_HTTP_MAX_RETRY": str(settings.retry.attempts - 1),
        "GDAL_HTTP_RETRY_DELAY": str(settings.retry.first_seconds),
        "GDAL_HTTP_CONNECTTIMEOUT": "30",
        "GDAL_HTTP_TIMEOUT": "120",
    }
    try:
        # The driver is named so that no other, such as VRT, opens further files.
        with rasterio.Env(**environment), rasterio.open(place, driver="GTiff") as raster:
            return _read(raster, square, access.options.bands)
    except UserError:
        raise
    except (RasterioError, CPLE_BaseError, OSError, ValueError) as error:
        raise Refused(f"{provider_of(place)} can't be read: {access.web.shown(first_line(error))}") from error


def _read(raster: DatasetReader, square: Square, bands: tuple[int, int, int]) -> Picture:
    from rasterio.transform import from_bounds
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import Resampling

    if max(bands) > raster.count:
        raise UserError(f"--bands {' '.join(map(str, bands))}: the raster has {raster.count} bands")
    if raster.crs is None:
        raise UserError("the raster has no coordinate system, so no place in it can be found; give another one")
    side = square.side
    with WarpedVRT(
        raster,
        **{"crs": "EPSG:3857", "transform": from_bounds(*square.bounds, side, side), "width": side, "height": side},
        resampling=Resampling.cubic,
        add_alpha=raster.nodata is None,
    ) as view:
        pixels = view.read(list(bands)).transpose(1, 2, 0)
        valid = view.dataset_mask() > 0
    if valid.mean() < LEAST_COVERED:
        raise NoImagery(f"{valid.mean():.0%} of the square has data")
    pixels[~valid] = 0
    if is_plain(pixels):
        raise NoImagery("one colour")
    return Picture(pixels, _native_metres(raster, square), date=_date(raster))


def _native_metres(raster: DatasetReader, square: Square) -> float | None:
    """Size on the ground of a pixel, of rasters in metres or degrees."""
    crs, transform = raster.crs, raster.transform
    size = abs(transform.a * transform.e - transform.b * transform.d) ** 0.5
    if crs.to_epsg() == 3857:
        return float(size * square.metres_per_pixel / square.pixel)
    if crs.is_geographic:
        return float(size * 111_320 * (square.metres_per_pixel / square.pixel) ** 0.5)
    return float(size * crs.linear_units_factor[1])


def _date(raster: DatasetReader) -> str:
    """The day that the file's TIFF tag states."""
    match = re.match(r"(\d{4}):(\d\d):(\d\d)", str(raster.tags().get("TIFFTAG_DATETIME", "")))
    return "-".join(match.groups()) if match else ""


def is_web(place: str) -> bool:
    """Whether a place is an address of http or https."""
    return urlsplit(place).scheme.lower() in WEB_SCHEMES


def provider_of(place: str) -> str:
    """An address without its query, or the name of a file."""
    return place.partition("?")[0] if is_web(place) else Path(place).name
