"""Reads width and height of an image from its header, without decoding pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from shards.decoding.imagery import MAX_PIXELS, MIN_SIDE_PIXELS, PICTURE_FORMATS
from shards.decoding.rasters import opened_raster, raster_driver
from shards.errors import RejectedPair


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header of any image or raster that a build reads.

    Raises:
        RejectedPair: "missing image" or "undecodable image", the header can't be read.
        OSError: the file can't be opened.
    """
    driver = raster_driver(path)
    if driver is not None:
        with opened_raster(path, driver) as raster:
            return raster.width, raster.height
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=PICTURE_FORMATS) as picture:
                return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        words = "not an image that is read" if isinstance(error, UnidentifiedImageError) else str(error)
        raise RejectedPair("undecodable image", f"{path.name}: {words.replace(str(path), path.name)}") from error


def check_image_header(path: Path) -> None:
    """Rejects an image that can't be opened or whose size a build does not take; pixels are not read.

    Raises:
        RejectedPair: "undecodable image" or "image too small".
        OSError: the file can't be opened.
    """
    width, height = image_size(path)
    if width * height > MAX_PIXELS:
        raise RejectedPair("undecodable image", f"{path.name}: {width} × {height} pixels, limit {MAX_PIXELS}")
    if min(width, height) < MIN_SIDE_PIXELS:
        raise RejectedPair("image too small", f"{path.name}: {width} × {height} pixels, minimum {MIN_SIDE_PIXELS}")
