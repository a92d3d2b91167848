"""Where a raster lies: its transform or control points, and the longitude and latitude of its centre."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader
    from rasterio.transform import Affine

Place = tuple[float, float] | tuple[None, None]
"""Longitude and latitude (WGS84, degrees east and north); (None, None): not on Earth, or not known."""

MIN_CONTROL_POINTS = 3


def transform_of(raster: DatasetReader) -> Affine | None:
    """The map from (column, row) to the coordinates of a raster: its transform, or a plane through control points.

    Returns:
        None if there is neither, or if it is degenerate.
    """
    from rasterio.transform import Affine

    transform = raster.transform
    if transform.is_identity:
        fitted = _through_control_points(raster)
        if fitted is None:
            return None
        transform = Affine(*fitted)
    values = transform[:6]
    usable = all(math.isfinite(value) for value in values) and abs(transform.determinant) > 0
    return transform if usable else None


def centre_of(raster: DatasetReader) -> Place:
    """Longitude and latitude of the raster's centre.

    From the transform, else from ground control points, else from rational polynomials (RPC, at their mean height), in
    any coordinate system that PROJ knows. A system without a place on Earth (a local or engineering system, another
    planet) and a failing transformation give (None, None).
    """
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import transform as to_system

    plane = transform_of(raster)
    if plane is None:
        return _centre_by_polynomials(raster)
    x, y = plane * (raster.width / 2, raster.height / 2)
    try:
        system = _system_of(raster)
        if system is None:
            return None, None
        longitudes, latitudes = to_system(system, "EPSG:4326", [x], [y])
    except (RasterioError, CRSError, *_gdal_errors()):
        return None, None
    return on_earth(longitudes[0], latitudes[0])


def on_earth(longitude: float, latitude: float) -> Place:
    """Wraps a longitude of up to one turn to [-180, 180]; (None, None) for what is no place on Earth."""
    if 180.0 < abs(longitude) <= 360.0:
        longitude -= math.copysign(360.0, longitude)
    if not (abs(longitude) <= 180.0 and abs(latitude) <= 90.0):
        return None, None
    return float(longitude), float(latitude)


def _system_of(raster: DatasetReader) -> CRS | None:
    return raster.gcps[1] if raster.transform.is_identity else raster.crs


def _through_control_points(raster: DatasetReader) -> tuple[float, ...] | None:
    """(a, b, c, d, e, f) of the least-squares plane through the ground control points; None if they span none."""
    points, _ = raster.gcps
    if len(points) < MIN_CONTROL_POINTS:
        return None
    pixels = np.array([(point.col, point.row, 1.0) for point in points])
    places = np.array([(point.x, point.y) for point in points])
    plane, _, rank, _ = np.linalg.lstsq(pixels, places, rcond=None)
    return tuple(plane.T.ravel().tolist()) if rank == MIN_CONTROL_POINTS else None


def _centre_by_polynomials(raster: DatasetReader) -> Place:
    from rasterio.errors import RasterioError, TransformError
    from rasterio.transform import RPCTransformer

    polynomials = raster.rpcs
    if polynomials is None:
        return None, None
    try:
        with RPCTransformer(polynomials, rpc_height=polynomials.height_off) as transformer:
            longitudes, latitudes = transformer.xy([raster.height / 2], [raster.width / 2], offset="ul")
    except (RasterioError, TransformError, ValueError, *_gdal_errors()):
        return None, None
    return on_earth(longitudes[0], latitudes[0])


def _gdal_errors() -> tuple[type[Exception], ...]:
    """GDAL's own errors, which rasterio passes on from PROJ; none of its public errors is their base class."""
    from rasterio._err import CPLE_BaseError

    return (CPLE_BaseError,)
