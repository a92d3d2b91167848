"""Reads width and height of an image from its header, without decoding pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from shards.errors import RejectedPair

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header of any image or raster that a build reads.

    Raises:
        RejectedPair: "undecodable image", the header can't be read.
        OSError: the file can't be opened.
    """
    with path.open("rb") as file:
        is_tiff = file.read(4).startswith(TIFF_SIGNATURES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _size_of_tiff(path) if is_tiff else _size_of_picture(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RejectedPair("undecodable image", f"{path.name}: {error}".replace(str(path), path.name)) from error


def _size_of_picture(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def _size_of_tiff(path: Path) -> tuple[int, int]:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        # No other file of the folder is looked at.
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, driver="GTiff") as raster:
            return raster.width, raster.height
    except RasterioError as error:
        raise ValueError(str(error)) from error
