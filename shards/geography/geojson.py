"""Reads the features of a GeoJSON file, whole or a feature a line, as shapes with their properties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.geography.shapes import Shape
from shards.records import MOST_BYTES, json_of, read_bytes_within, shortened

REMEDY = "save it as GeoJSON in WGS84 (EPSG:4326)"
MOST_LINE_BYTES = 64 << 20
"""The longest feature of a file with one on each line."""


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature of a map.

    Attributes:
        shape: its geometry.
        properties: as the file has them.
    """

    shape: Shape
    properties: dict[str, Any]


def read_features(path: Path) -> Iterator[Feature]:
    """The features of a GeoJSON file in order; those without a geometry are left out.

    Two forms are read: a feature collection of at most 256 MB, and a feature a line (GeoJSONSeq, RFC 8142), of any
    length, which is read line by line.

    Raises:
        UserError: the file can't be read, or is neither.
    """
    if _is_sequence(path):
        yield from _of_lines(path)
        return
    root = json_of(read_bytes_within(path, MOST_BYTES, REMEDY), str(path), REMEDY)
    features = root.get("features") if isinstance(root, dict) else None
    if not isinstance(features, list):
        raise UserError(f"{path} is not a GeoJSON feature collection; {REMEDY}")
    for number, feature in enumerate(features, start=1):
        found = _feature(feature, f"{path}: feature {number}")
        if found is not None:
            yield found


def _is_sequence(path: Path) -> bool:
    """Whether a file begins with a feature, and not with a collection of them."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}; give a GeoJSON file") from error
    start = head.lstrip(b"\x1e\xef\xbb\xbf \t\r\n")
    compact = b"".join(start.split())
    return head.startswith(b"\x1e") or compact.startswith(b'{"type":"Feature"')


def _of_lines(path: Path) -> Iterator[Feature]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_LINE_BYTES + 1):
            number += 1
            where = f"{path}: line {number}"
            if len(line) > MOST_LINE_BYTES:
                raise UserError(f"{where} is longer than the {MOST_LINE_BYTES >> 20} MB of a feature; {REMEDY}")
            text = line.strip(b"\x1e\r\n\t ")
            found = _feature(json_of(text, where, REMEDY), where) if text else None
            if found is not None:
                yield found


def _feature(record: Any, where: str) -> Feature | None:
    if not isinstance(record, dict) or record.get("type") != "Feature":
        raise UserError(f"{where} is not a GeoJSON feature; {REMEDY}")
    geometry, properties = record.get("geometry"), record.get("properties")
    if geometry is None:
        return None
    return Feature(shape_of(geometry, where), properties if isinstance(properties, dict) else {})


def shape_of(geometry: Any, where: str) -> Shape:
    """The shape of a GeoJSON geometry.

    Args:
        geometry: the parsed object.
        where: the place in the file, for the message.

    Raises:
        UserError: it is none, or its coordinates are not degrees.
    """
    rings: list[NDArray[np.float64]] = []
    lines: list[NDArray[np.float64]] = []
    points: list[NDArray[np.float64]] = []
    _collect(geometry, where, rings, lines, points)
    return Shape(tuple(rings), tuple(lines), np.concatenate(points) if points else np.empty((0, 2)))


def _collect(
    geometry: Any,
    where: str,
    rings: list[NDArray[np.float64]],
    lines: list[NDArray[np.float64]],
    points: list[NDArray[np.float64]],
) -> None:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    parts = geometry.get("geometries" if kind == "GeometryCollection" else "coordinates") if kind else None
    if not isinstance(parts, list):
        raise UserError(f"{where} has no geometry that is read ({shortened(str(kind))}); {REMEDY}")
    if kind == "GeometryCollection":
        for part in parts:
            _collect(part, where, rings, lines, points)
    elif kind == "Polygon":
        rings += [_positions(ring, where) for ring in parts]
    elif kind == "MultiPolygon":
        rings += [_positions(ring, where) for polygon in parts for ring in polygon]
    elif kind == "LineString":
        lines.append(_positions(parts, where))
    elif kind == "MultiLineString":
        lines += [_positions(line, where) for line in parts]
    elif kind == "Point":
        points.append(_positions([parts], where))
    elif kind == "MultiPoint":
        points.append(_positions(parts, where))
    else:
        raise UserError(f"{where} has no geometry that is read ({shortened(str(kind))}); {REMEDY}")


def _positions(values: Any, where: str) -> NDArray[np.float64]:
    """(n, 2) longitude and latitude; a height is dropped."""
    try:
        found = np.array([position[:2] for position in values], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where} has coordinates that are no pairs of numbers; {REMEDY}") from error
    # Longitudes beyond 180 are common where a shape crosses the antimeridian.
    if not np.isfinite(found).all() or (np.abs(found) > (540.0, 90.0)).any():
        raise UserError(f"{where} has coordinates that are not degrees; {REMEDY}")
    return found
