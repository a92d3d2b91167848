"""Inputs of the statistics page and of `collect advance`: boundaries, maps, label tables, corrections and answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from advance_corpora import write_map
from fuzz.campaign import Family
from fuzz.mutations import Mutation, change_json, change_text

from shards.collecting.advance.corrections import read_corrections
from shards.collecting.advance.extract_labels import labels_of_extract
from shards.collecting.advance.label_table import read_label_table
from shards.collecting.advance.overpass import OverpassClient, elements_of
from shards.collecting.advance.overpass_labels import labels_of_service, query_id
from shards.collecting.web import Answer
from shards.errors import UserError
from shards.geography.countries import Countries
from shards.manifest import Manifest
from shards.records import read_json_as
from shards.reporting.figures import statistics_of
from shards.reporting.page import write_report
from shards.reporting.tally import CorpusTally
from shards.schema import SpectrogramSettings

PLACES = [(0.1, 0.5), (1.5, 0.5), (3.2, 0.7), (-170.0, 3.0)]
STATISTICS = {"spectrogram_mean": 1.0, "spectrogram_std": 1.0, "seconds_of_sound": 1.0}
OSM_XML = """<?xml version="1.0"?><osm version="0.6">
<node id="1" lon="0" lat="0"/><node id="2" lon="1" lat="0"/><node id="3" lon="1" lat="1"/><node id="4" lon="0" lat="1"/>
<node id="5" lon="1.5" lat="0.5"><tag k="railway" v="station"/></node>
<way id="10"><nd ref="1"/><nd ref="2"/><nd ref="3"/></way><way id="11"><nd ref="3"/><nd ref="4"/><nd ref="1"/></way>
<way id="12"><nd ref="1"/><nd ref="2"/><tag k="bridge" v="yes"/><tag k="highway" v="track"/></way>
<relation id="20"><member type="way" ref="10" role="outer"/><member type="way" ref="11" role="outer"/>
<tag k="type" v="multipolygon"/><tag k="natural" v="wood"/></relation></osm>
"""
METADATA = {
    "longitude": 7.5, "latitude": 48.0, "seconds": 61.5, "creator": "Ann", "licence": "by", "label": "beach",
    "date_recorded": "2012-05-03",
}  # fmt: skip


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


def _boundaries(folder: Path) -> Path:
    path = write_map(folder / "world.geojson")
    record = json.loads(path.read_text())
    for number, feature in enumerate(record["features"]):
        feature["properties"] = {"ADMIN": f"Country {number}"}
    path.write_text(json.dumps(record))
    return path


def _map_in_lines(folder: Path) -> Path:
    record = json.loads(write_map(folder / "map.geojson").read_text())
    (folder / "map.geojsonseq").write_text("".join(f"{json.dumps(feature)}\n" for feature in record["features"]))
    return folder / "map.geojsonseq"


def _locate(file: Path) -> None:
    longitudes, latitudes = np.array(PLACES).T
    Countries(file).locate(longitudes.copy(), latitudes.copy())


def _label(file: Path) -> None:
    labels_of_extract(file, read_label_table(None), PLACES, lambda words: None)


def _own_table(folder: Path) -> Path:
    import shards.collecting.advance

    source = Path(shards.collecting.advance.__file__).parent / "labels.yaml"
    return _text("labels.yaml", source.read_text())(folder)


class _Answering(OverpassClient):
    """A client whose service has answered with the content of a file."""

    def __init__(self, body: bytes) -> None:
        super().__init__("http://127.0.0.1:9/", 0.0)
        self._body = body

    def ask(self, _query: str) -> list[dict[str, Any]]:
        return elements_of(Answer(self._body, "application/json")) or []


def _answer(folder: Path) -> Path:
    elements: list[dict[str, Any]] = [
        {"type": "way", "id": 1, "tags": {"natural": "wood"}},
        {"type": "node", "id": 2, "lat": 0.5, "lon": 0.1, "tags": {"railway": "station"}},
        {"type": "way", "id": 3, "tags": {"bridge": "yes", "highway": "a"},
         "geometry": [{"lat": 0.5, "lon": 0.1}, {"lat": 0.6, "lon": 0.1}]},
        {"type": "relation", "id": 4, "tags": {"natural": "beach"},
         "members": [{"type": "way", "geometry": [{"lat": 0.5, "lon": 0.1}, {"lat": 0.6, "lon": 0.1}]}]},
    ]  # fmt: skip
    return _text("answer.json", json.dumps({"elements": elements}))(folder)


def _use_answer(file: Path) -> None:
    (file.parent / "kept.jsonl").unlink(missing_ok=True)
    labels_of_service(_Answering(file.read_bytes()), read_label_table(None), PLACES[:1], file.parent / "kept.jsonl")


def _kept_answers(folder: Path) -> Path:
    table = read_label_table(None)
    lines = [
        {"query": query_id(table), "longitude": place[0], "latitude": place[1],
         "objects": [{"tags": {"natural": "wood"}, "metres": 0.0}]}
        for place in PLACES
    ]  # fmt: skip
    return _text("overpass.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))(folder)


def _use_kept(file: Path) -> None:
    labels_of_service(_Answering(b'{"elements": []}'), read_label_table(None), PLACES, file)


def _report(file: Path) -> None:
    tally = CorpusTally()
    metadata = read_json_as(dict[str, Any], file)
    for _ in range(3):
        tally.add(metadata)
    manifest = Manifest("recordings", {}, SpectrogramSettings(), STATISTICS, (), ())
    write_report(file.parent / "page", statistics_of(manifest, tally, None), tally)


def _family(name: str, write: Callable[[Path], Path], use: Callable[[Path], object], change: Mutation) -> Family:
    return Family(name, write, use, change, (UserError,))


FAMILIES = [
    _family("boundaries of countries", _boundaries, _locate, change_json),
    _family("map as GeoJSON", lambda folder: write_map(folder / "map.geojson"), _label, change_json),
    _family("map with a feature a line", _map_in_lines, _label, change_text),
    _family("map as OSM XML", _text("map.osm", OSM_XML), _label, change_text),
    _family("label table", _own_table, read_label_table, change_text),
    _family("corrections", _text("corrections.csv", "key,label\n1,beach\n2,\n"), read_corrections, change_text),
    _family("answer of Overpass", _answer, _use_answer, change_json),
    _family("kept answers of Overpass", _kept_answers, _use_kept, change_text),
    _family("statistics of metadata", _text("a.json", json.dumps(METADATA)), _report, change_json),
]
