"""Pictures of services: decoded within limits, resampled to a square, and written as the image of a place."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.collecting.imagery import Pixels
from shards.collecting.mercator import Square
from shards.errors import RejectedPair, first_line

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_OPAQUE, _MOST_TRANSPARENT = 128, 0.5


def decode_picture(body: bytes, width: int, height: int) -> npt.NDArray[np.uint8] | None:
    """Decodes a picture of a service.

    Args:
        body: PNG, JPEG, WebP or GIF.
        width, height: which it must have, in pixels.

    Returns:
        (height, width, 3), transparent pixels black; None if more than half of it is transparent.

    Raises:
        RejectedPair: it is no such picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(body), formats=_FORMATS) as image:
                if image.size != (width, height):
                    got = " × ".join(map(str, image.size))
                    raise RejectedPair(
                        "unusable picture", f"the service sent {got} pixels instead of {width} × {height}"
                    )
                rgba = np.asarray(image.convert("RGBA"))
    except RejectedPair:
        raise
    except Exception as error:  # Pillow raises many kinds of errors for broken files
        reason = "no PNG, JPEG, WebP or GIF" if isinstance(error, UnidentifiedImageError) else first_line(error)
        start = body[:60].decode("ascii", "replace")
        raise RejectedPair("unusable picture", f"{reason}; it begins with {start!r}") from error
    is_opaque = rgba[..., 3] >= _OPAQUE
    if 1 - is_opaque.mean() > _MOST_TRANSPARENT:
        return None
    return np.where(is_opaque[..., None], rgba[..., :3], np.uint8(0))


def resampled(mosaic: Pixels, corner: tuple[float, float], mosaic_pixel: float, pixel: float, side: int) -> Pixels:
    """Cuts a square out of a mosaic, exactly centred, by cubic convolution (GDAL's, whose kernel grows with the step).

    Args:
        mosaic: (height, width, bands).
        corner: x and y of its north-western corner, from the centre of the square.
        mosaic_pixel, pixel: width of a pixel of the mosaic and of the square, in the unit of `corner`.
        side: of the square in pixels.

    Returns:
        (side, side, bands) of the mosaic's type.
    """
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    bands = np.ascontiguousarray(mosaic.transpose(2, 0, 1))
    square = np.zeros((bands.shape[0], side, side), bands.dtype)
    half = side * pixel / 2
    reproject(
        bands,
        square,
        src_transform=Affine(mosaic_pixel, 0, corner[0], 0, -mosaic_pixel, corner[1]),
        dst_transform=Affine(pixel, 0, -half, 0, -pixel, half),
        src_crs="EPSG:3857",  # any plane one: places are counted from the centre of the square
        dst_crs="EPSG:3857",
        resampling=Resampling.cubic,
    )
    return square.transpose(1, 2, 0)


def warped(pixels: Pixels, bounds: tuple[float, float, float, float], crs: str, square: Square) -> Pixels:
    """Pixels in another coordinate system as a square on the map, by cubic convolution.

    Args:
        pixels: (height, width, bands).
        bounds: west, south, east and north of these.
        crs: in which the bounds are.
        square: where to.

    Returns:
        (side, side, bands) of the same type.
    """
    from rasterio.transform import from_bounds
    from rasterio.warp import Resampling, reproject

    height, width, count = pixels.shape
    image = np.zeros((count, square.side, square.side), pixels.dtype)
    reproject(
        np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        image,
        src_transform=from_bounds(*bounds, width, height),
        dst_transform=from_bounds(*square.bounds, square.side, square.side),
        src_crs=crs,
        dst_crs="EPSG:3857",
        resampling=Resampling.cubic,
    )
    return image.transpose(1, 2, 0)


def encode_jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG without chroma subsampling, which would blur the colours of small things."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def write_geotiff(path: Path, pixels: Pixels, bounds: tuple[float, float, float, float]) -> None:
    """Writes pixels of more than 8 bits as a GeoTIFF in web mercator.

    Args:
        path: the file.
        pixels: (side, side, bands).
        bounds: west, south, east and north in mercator metres.
    """
    import rasterio
    from rasterio.transform import from_bounds

    height, width, count = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        **{"height": height, "width": width, "count": count, "dtype": pixels.dtype, "compress": "deflate"},
        **{"crs": "EPSG:3857", "transform": from_bounds(*bounds, width, height)},
    ) as out:
        out.write(pixels.transpose(2, 0, 1))
