"""Labels from extracts of OpenStreetMap: the same world as GeoJSON of several writers, and as OSM XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shards.collecting.advance.extract_labels import labels_of_extract
from shards.collecting.advance.label_table import read_label_table
from shards.collecting.advance.osm_objects import tags_of
from shards.errors import UserError

FOREST = [(0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.0, 0.1)]
CLEARING = [(0.04, 0.04), (0.06, 0.04), (0.06, 0.06), (0.04, 0.06)]
STATION = (0.2, 0.2)
BRIDGE = [(0.3, 0.3), (0.31, 0.3)]

PLACES = {
    (0.02, 0.02): "forest",
    (0.055, 0.045): None,  # in the clearing
    (0.2009, 0.2): "train station",  # 100 m away
    (0.2018, 0.2): None,  # 200 m away
    (0.305, 0.3003): "bridge",  # 33 m beside its middle
    (0.305, 0.3005): None,  # 56 m
    (0.5, 0.5): None,
}


def closed(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [*ring, ring[0]]


def features() -> list[dict[str, Any]]:
    shapes: list[tuple[dict[str, str], str, Any]] = [
        ({"natural": "wood"}, "MultiPolygon", [[closed(FOREST), closed(CLEARING)]]),
        ({"railway": "station"}, "Point", STATION),
        ({"bridge": "yes", "highway": "track"}, "LineString", BRIDGE),
        ({"amenity": "bench"}, "Point", (0.05, 0.05)),
    ]
    return [
        {"type": "Feature", "properties": tags, "geometry": {"type": kind, "coordinates": coordinates}}
        for tags, kind, coordinates in shapes
    ]


def osm_xml(*, without_node: int | None = None) -> str:
    """The forest as a relation of two half rings and an inner way, the station as a node, the bridge as a way."""
    points = {**dict(enumerate(FOREST, 1)), **dict(enumerate(CLEARING, 11)), 21: STATION, **dict(enumerate(BRIDGE, 31))}
    lines = ['<?xml version="1.0"?>', '<osm version="0.6">']
    for number, (longitude, latitude) in points.items():
        tag = '<tag k="railway" v="station"/>' if number == 21 else ""
        if number != without_node:
            lines.append(f'<node id="{number}" lon="{longitude}" lat="{latitude}">{tag}</node>')
    ways = {
        101: ([1, 2, 3], {}),
        102: ([1, 4, 3], {}),  # the other half, in the other direction
        103: ([11, 12, 13, 14, 11], {}),
        104: ([31, 32], {"bridge": "yes", "highway": "track"}),
        105: ([11, 12, 13, 11], {"highway": "service", "landuse": "residential"}),  # a closed road is no area
    }
    for number, (nodes, tags) in ways.items():
        inner = "".join(f'<nd ref="{node}"/>' for node in nodes)
        inner += "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
        lines.append(f'<way id="{number}">{inner}</way>')
    members = "".join(f'<member type="way" ref="{way}" role="outer"/>' for way in (101, 102))
    members += '<member type="way" ref="103" role="inner"/>'
    tags = '<tag k="type" v="multipolygon"/><tag k="natural" v="wood"/>'
    lines.append(f'<relation id="201">{members}{tags}</relation></osm>')
    return "\n".join(lines)


def write_extract(path: Path, kind: str) -> Path:
    if kind == "collection":
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features()}))
    elif kind == "lines":
        path.write_text("".join(f"{json.dumps(feature)}\n" for feature in features()))
    else:
        path.write_text(osm_xml())
    return path


@pytest.mark.parametrize("kind", ["collection", "lines", "xml"])
def test_places_get_the_class_of_what_they_lie_in_or_near(tmp_path: Path, kind: str) -> None:
    path = write_extract(tmp_path / "extract", kind)
    notices: list[str] = []
    labels = labels_of_extract(path, read_label_table(None), list(PLACES), notices.append)
    assert {place: labels[place].class_name if place in labels else None for place in PLACES} == PLACES
    assert labels[0.02, 0.02].evidence == "natural=wood"
    assert notices == []


def test_objects_whose_parts_are_not_in_the_extract_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "extract.osm"
    path.write_text(osm_xml(without_node=14))
    notices: list[str] = []
    labels = labels_of_extract(path, read_label_table(None), list(PLACES), notices.append)
    assert (0.02, 0.02) not in labels
    assert labels[0.2009, 0.2].class_name == "train station"
    assert notices == [
        "1 objects of extract.osm were left out, because the extract lacks parts of them; extracts with complete ways "
        "and multipolygons have all"
    ]


@pytest.mark.parametrize(
    "properties",
    [
        {"natural": "wood", "@id": "way/1"},
        {"tags": {"natural": "wood"}, "id": 1},
        {"tags": '{"natural": "wood"}'},
        {"osm_id": "1", "other_tags": '"name"=>"A \\"big\\" wood","natural"=>"wood"'},
    ],
)
def test_tags_are_found_where_writers_put_them(properties: dict[str, Any]) -> None:
    assert tags_of(properties)["natural"] == "wood"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\x00\x00\x0d\x0a\x09OSMHeader", "is an OSM PBF file, which is not read; give GeoJSON"),
        (b"PK\x03\x04", "is neither GeoJSON nor OSM XML"),
        (b"<osm><node id='1' lon='x' lat='0'/></osm>", "is not OSM XML"),
        (b"<osm><node id='1'/></osm>", "is not OSM XML: a node has no 'lon'"),
        (b"<osm><way", "is not OSM XML"),
        (b"<!DOCTYPE osm [<!ENTITY a 'b'>]><osm/>", "declares a document type"),
        (b"<osm></osm>", "has no object with tags of the label table"),
    ],
)
def test_files_that_are_no_extracts_are_refused_in_a_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "extract"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        labels_of_extract(path, read_label_table(None), [(0.0, 0.0)], print)
