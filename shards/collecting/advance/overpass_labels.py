"""Labels places by an Overpass service: one query a place, whose answer is kept so that none is asked for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.collecting.advance.extract_labels import Place
from shards.collecting.advance.label_table import Label, LabelTable, Line, NearObject
from shards.collecting.advance.osm_xml import may_be_area
from shards.collecting.advance.overpass import SERVER_SECONDS, OverpassClient
from shards.errors import UserError
from shards.geography.shapes import Shape, metres_away
from shards.progress import ProgressLine
from shards.records import DamagedRecord, as_number, json_of


def labels_of_service(
    client: OverpassClient, table: LabelTable, places: Sequence[Place], answers: Path
) -> dict[Place, Label]:
    """The label of each place that has one.

    Args:
        client: of the service.
        table: the label table.
        places: all different.
        answers: file of the answers so far, a line each; new ones are added as they come.

    Raises:
        UserError: the service does not answer.
    """
    known = _read_answers(answers, query_id(table))
    missing = [place for place in places if place not in known]
    answers.parent.mkdir(parents=True, exist_ok=True)
    with answers.open("a", encoding="utf-8") as file, ProgressLine("asking Overpass", len(missing)) as progress:
        for place in missing:
            known[place] = _near_objects(client.ask(query_of(table, place)), table, place)
            file.write(_answer_line(place, known[place], query_id(table)))
            file.flush()
            progress.advance()
    labels = ((place, table.label(known[place])) for place in places)
    return {place: label for place, label in labels if label is not None}


def query_of(table: LabelTable, place: Place) -> str:
    """The query for the objects of a table around a place, in Overpass QL.

    The first output holds the areas in which the place lies, with their tags; the second the objects of rules with a
    distance, with their geometry. `wr(pivot)` turns what `is_in` finds to ways and relations in all versions of
    Overpass.
    """
    longitude, latitude = place
    inside = "".join(f"wr.here{_filter(line)};" for rule in table.rules for line in rule.lines)
    near = "".join(
        f"nwr(around:{rule.within_metres:g},{latitude},{longitude}){_filter(line)};"
        for rule in table.rules
        if rule.within_metres > 0
        for line in rule.lines
    )
    head = f"[out:json][timeout:{SERVER_SECONDS}];is_in({latitude},{longitude});wr(pivot)->.here;({inside});out tags;"
    return head + (f"({near});out geom;" if near else "")


def query_id(table: LabelTable) -> str:
    """A name for the query of a table: answers to another query are asked for again."""
    return hashlib.sha256(query_of(table, (0.0, 0.0)).encode()).hexdigest()[:16]


def _filter(line: Line) -> str:
    """The tests of a line as filters of Overpass QL."""
    return "".join(
        f"[{'!' * test.is_negated}{_quoted(test.key)}]"
        if test.value == "*"
        else f"[{_quoted(test.key)}{'!=' if test.is_negated else '='}{_quoted(test.value)}]"
        for test in line
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _near_objects(elements: Sequence[dict[str, Any]], table: LabelTable, place: Place) -> list[NearObject]:
    """The objects of an answer with their distances; those without geometry are the areas around the place."""
    keys = {test.key for rule in table.rules for line in rule.lines for test in line}
    found = []
    for element in elements:
        given = element.get("tags")
        tags = {key: value for key, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}
        if element.get("type") in ("way", "relation") and not {"geometry", "members"} & element.keys():
            metres = np.inf if tags.get("area") == "no" else 0.0
        else:
            metres = metres_away(_shape_of(element, tags), *place)
        kept = {key: tags[key] for key in sorted(tags.keys() & keys)}
        if np.isfinite(metres) and table.matches(kept):
            found.append(NearObject(kept, round(metres, 2)))
    return found


def _shape_of(element: Mapping[str, Any], tags: Mapping[str, str]) -> Shape:
    """The geometry of an element; empty if it can't be read."""
    if element.get("type") == "node":
        return Shape(points=_points([element]))
    if element.get("type") == "way":
        line = _points(element.get("geometry"))
        if len(line) < 2:
            return Shape()
        is_closed = len(line) >= 4 and bool((line[0] == line[-1]).all())
        return Shape(rings=(line,)) if is_closed and may_be_area(tags) else Shape(lines=(line,))
    members = element.get("members")
    parts = [part for part in members if isinstance(part, dict)] if isinstance(members, list) else []
    lines = [_points(part.get("geometry")) for part in parts]
    # That the place lies inside a relation is known from the first output, so its ways need not be joined.
    return Shape(lines=tuple(line for line in lines if len(line) >= 2))


def _points(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n, 2) longitude and latitude of a list of points; those that are none are left out."""
    pairs = [
        (longitude, latitude)
        for point in (values if isinstance(values, list) else [])
        if isinstance(point, dict)
        and (longitude := as_number(point.get("lon"))) is not None
        and (latitude := as_number(point.get("lat"))) is not None
    ]
    return np.array(pairs, np.float64).reshape(-1, 2)


def _answer_line(place: Place, objects: Sequence[NearObject], query: str) -> str:
    record = {
        "query": query,
        "longitude": place[0],
        "latitude": place[1],
        "objects": [{"tags": dict(near.tags), "metres": near.metres} for near in objects],
    }
    return json.dumps(record) + "\n"


def _read_answers(path: Path, query: str) -> dict[Place, list[NearObject]]:
    """The answers to a query that a file holds; a last line that was cut by a kill is left out.

    Raises:
        UserError: the file can't be read.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}; make it readable, or remove it") from error
    if lines[-1]:  # so that the next answer begins a line of its own
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    found: dict[Place, list[NearObject]] = {}
    for line in lines:
        try:
            record = json_of(line, str(path)) if line else None
        except DamagedRecord:
            continue
        if isinstance(record, dict) and record.get("query") == query:
            place = as_number(record.get("longitude")), as_number(record.get("latitude"))
            objects = record.get("objects")
            if place[0] is not None and place[1] is not None and isinstance(objects, list):
                found[place[0], place[1]] = _kept_objects(objects)
    return found


def _kept_objects(records: Sequence[Any]) -> list[NearObject]:
    found = []
    for record in records:
        fields = record if isinstance(record, dict) else {}
        tags, metres = fields.get("tags"), as_number(fields.get("metres"))
        if isinstance(tags, dict) and metres is not None:
            found.append(NearObject({str(key): str(value) for key, value in tags.items()}, metres))
    return found
