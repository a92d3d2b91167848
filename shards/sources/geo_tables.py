"""Reads places with properties: the points of a GeoJSON file, and the waypoints of a GPX file."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.sources.tables import FAULT, IsKnown, Table, make_table, not_readable, text_of
from shards.sources.xml_text import local_name, parse_xml

LONGITUDE, LATITUDE = "longitude", "latitude"

_DEGREES = re.compile(r"CRS:?84|EPSG:*4326|WGS[ _]?84\b(?!.*UTM)", re.IGNORECASE)


def read_geojson(path: Path, limit: int | None, _is_known: IsKnown) -> Table:
    """Reads a feature collection: properties are columns, the point gives the columns longitude and latitude.

    A feature whose geometry is no point becomes a row with a `FAULT`.

    Raises:
        UserError: it is no feature collection, or its coordinates are not degrees.
    """
    try:
        root = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise not_readable(path, "GeoJSON", error) from error
    features = root.get("features") if isinstance(root, dict) else None
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise UserError(f"{path} is not a GeoJSON feature collection; save the points as one, or as CSV")
    refuse_other_reference(path, root.get("crs"))
    features = features[:limit]
    properties = [_properties(feature) for feature in features]
    names = list(dict.fromkeys(name for row in properties for name in row))
    if any("id" in feature for feature in features) and "id" not in names:
        names.insert(0, "id")
        properties = [{"id": text_of(f.get("id")), **row} for f, row in zip(features, properties, strict=True)]
    columns = [*(name for name in names if name not in (LONGITUDE, LATITUDE)), LONGITUDE, LATITUDE]
    records, faults = [], dict[int, str]()
    for number, (feature, row) in enumerate(zip(features, properties, strict=True), start=1):
        point, fault = _point(feature.get("geometry"))
        if fault:
            faults[number] = fault
        # A feature without a geometry may state its place in properties.
        place = map(text_of, point) if point else (row.get(LONGITUDE, ""), row.get(LATITUDE, ""))
        records.append((number, [row.get(name, "") for name in columns[:-2]] + list(place)))
    table = make_table(path, columns, records, limit=None, unit="feature")
    rows = tuple((number, row | ({FAULT: faults[number]} if number in faults else {})) for number, row in table.rows)
    return Table(path, table.columns, rows, table.unit)


def _properties(feature: dict[str, Any]) -> dict[str, str]:
    properties = feature.get("properties")
    return {name: text_of(value) for name, value in properties.items()} if isinstance(properties, dict) else {}


def _point(geometry: Any) -> tuple[tuple[Any, Any] | None, str]:
    """Longitude and latitude of a geometry, and what is wrong if it is no point; a missing one is not wrong."""
    if geometry is None:
        return None, ""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Point", "MultiPoint"):
        return None, f"is a {kind or 'thing without a type'}, not a Point"
    values = geometry.get("coordinates")
    if kind == "MultiPoint" and isinstance(values, list):
        values = values[0] if len(values) == 1 else None
    if not isinstance(values, list) or len(values) < 2:
        return None, f"is a {kind} without a longitude and latitude"
    return (values[0], values[1]), ""


def refuse_other_reference(path: Path, reference: Any) -> None:
    """Rejects coordinates that are not longitude and latitude on WGS84.

    Args:
        path: the file.
        reference: its `crs` member; None means WGS84.

    Raises:
        UserError: it names another reference system.
    """
    if reference is None:
        return
    named = reference.get("properties", {}).get("name") if isinstance(reference, dict) else None
    identity = reference.get("id", {}) if isinstance(reference, dict) else {}
    name = named or (f"{identity.get('authority')}:{identity.get('code')}" if identity else str(reference)[:60])
    if not _DEGREES.search(str(name)):
        raise UserError(f"{path}: its coordinates are in {name}, not in degrees; save it in WGS84 (EPSG:4326)")


def point_of_wkb(data: bytes | None) -> tuple[float, float] | None:
    """Longitude and latitude of a point in well-known binary, None for anything else."""
    if not data or len(data) < 21 or data[0] not in (0, 1):
        return None
    order = "<" if data[0] else ">"
    (kind,) = struct.unpack_from(f"{order}I", data, 1)
    if kind & 0xFFFF not in (1, 1001, 2001, 3001):
        return None
    has_reference = bool(kind & 0x20000000)
    x, y = struct.unpack_from(f"{order}dd", data, 9 if has_reference else 5)
    return x, y


def read_gpx(path: Path, limit: int | None, _is_known: IsKnown) -> Table:
    """Reads the waypoints of a GPX file: their place, and name, time and comments as columns.

    Raises:
        UserError: it is no GPX file, has no waypoints, or declares entities.
    """
    root = parse_xml(path.read_bytes(), str(path), "GPX", "save it as plain GPX, or as CSV")
    kind = local_name(root.tag)
    if kind != "gpx":
        raise UserError(f"{path} is not a GPX file (its root is <{kind}>); save it as GPX, GeoJSON or CSV")
    points = [element for element in root if local_name(element.tag) == "wpt"][:limit]
    if not points:
        raise UserError(f"{path} has no waypoints (tracks and routes are not read); save the places as waypoints")
    fields = [
        {local_name(child.tag): " ".join((child.text or "").split()) for child in point if not len(child)}
        for point in points
    ]
    names = [name for name in dict.fromkeys(name for row in fields for name in row) if name != "link"]
    records = [
        (number, [*(row.get(name, "") for name in names), point.get("lon", ""), point.get("lat", "")])
        for number, (point, row) in enumerate(zip(points, fields, strict=True), start=1)
    ]
    return make_table(path, [*names, LONGITUDE, LATITUDE], records, limit=None, unit="waypoint")
