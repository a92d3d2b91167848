"""The objects of an OpenStreetMap extract that a label table knows, from GeoJSON or OSM XML, one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shards.collecting.advance.label_table import LabelTable, OsmObject
from shards.collecting.advance.osm_xml import read_osm_xml
from shards.errors import UserError
from shards.geography.geojson import read_features

REMEDY = (
    "give GeoJSON, a GeoJSON feature on each line, or OSM XML; osmium-tool makes them: "
    "osmium export EXTRACT.osm.pbf -o EXTRACT.geojsonseq"
)

_OTHER_TAG = re.compile(r'"((?:[^"\\]|\\.)*)"=>"((?:[^"\\]|\\.)*)"')
"""A tag in the property other_tags, as ogr2ogr writes it."""


def read_objects(path: Path, table: LabelTable, notice: Callable[[str], None]) -> Iterator[OsmObject]:
    """The objects of an extract whose tags a table knows, in the order of the file.

    Args:
        path: GeoJSON (a collection, or a feature a line) or OSM XML.
        table: the label table.
        notice: is given a sentence on what was left out.

    Raises:
        UserError: the file can't be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"--osm {path} can't be read: {error.strerror}; {REMEDY}") from error
    start = head.lstrip(b"\x1e\xef\xbb\xbf \t\r\n")
    if b"OSMHeader" in head[:64]:
        raise UserError(f"--osm {path} is an OSM PBF file, which is not read; {REMEDY}")
    if start.startswith(b"<"):
        yield from read_osm_xml(path, table, notice)
    elif start.startswith(b"{"):
        yield from _of_geojson(path, table)
    else:
        raise UserError(f"--osm {path} is neither GeoJSON nor OSM XML; {REMEDY}")


def _of_geojson(path: Path, table: LabelTable) -> Iterator[OsmObject]:
    for feature in read_features(path):
        tags = tags_of(feature.properties)
        if table.matches(tags):
            yield OsmObject(tags, feature.shape)


def tags_of(properties: dict[str, Any]) -> dict[str, str]:
    """The tags of a GeoJSON feature, however its writer keeps them.

    osmium and Overpass turbo write each tag as a property, osmtogeojson in older versions all as the property tags,
    and ogr2ogr those without a column of their own as the text other_tags.
    """
    tags = {name: str(value) for name, value in properties.items() if isinstance(value, str | int | float)}
    inner = properties.get("tags")
    if isinstance(inner, str) and inner.startswith("{"):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            inner = None
    if isinstance(inner, dict):
        tags |= {str(name): value for name, value in inner.items() if isinstance(value, str)}
    tags |= {_plain(name): _plain(value) for name, value in _OTHER_TAG.findall(tags.pop("other_tags", ""))}
    return tags


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
