"""Reads OSM XML in three passes, which keep in memory only what the label table knows: relations, ways, nodes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from shards.collecting.advance.label_table import LabelTable, OsmObject
from shards.errors import UserError
from shards.geography.shapes import Shape

BLOCK_BYTES = 1 << 20
LINES = ("highway", "barrier", "railway", "aerialway")
"""Closed ways with one of these tags are lines, unless they also say area=yes."""


@dataclass
class _Element:
    """What a pass sees of a node, way or relation."""

    kind: str
    number: int
    longitude: float = 0.0
    latitude: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    nodes: array[int] = field(default_factory=lambda: array("q"))
    ways: array[int] = field(default_factory=lambda: array("q"))


def read_osm_xml(path: Path, table: LabelTable, notice: Callable[[str], None]) -> Iterator[OsmObject]:
    """The objects of an OSM XML file whose tags a table knows: areas, lines, and points.

    Closed ways are areas unless their tags say otherwise; relations of the type multipolygon are areas, whose outer and
    inner ways are joined to rings.

    Args:
        path: the file.
        table: the label table.
        notice: is given a sentence on the objects that were left out because the file lacks parts of them.

    Raises:
        UserError: the file is no OSM XML, or declares entities.
    """
    relations, ways, needed = _areas_and_ways(path, table)
    nodes: dict[int, tuple[float, float]] = {}
    for element in _elements(path, "node"):
        if element.number in needed:
            nodes[element.number] = (element.longitude, element.latitude)
        if element.tags and table.matches(element.tags):
            yield OsmObject(element.tags, Shape(points=np.array([[element.longitude, element.latitude]])))
    incomplete = 0
    shapes: Iterator[tuple[dict[str, str], Shape | None]] = chain(
        ((way.tags, _shape_of_way(way, nodes)) for way in ways.values() if table.matches(way.tags)),
        ((relation.tags, _shape_of_relation(relation, ways, nodes)) for relation in relations),
    )
    for tags, shape in shapes:
        if shape is None:
            incomplete += 1
        else:
            yield OsmObject(tags, shape)
    if incomplete:
        notice(
            f"{incomplete:,} objects of {path.name} were left out, because the extract lacks parts of them; extracts "
            "with complete ways and multipolygons have all"
        )


def _areas_and_ways(path: Path, table: LabelTable) -> tuple[list[_Element], dict[int, _Element], set[int]]:
    """The multipolygons that a table knows, the ways that it knows or they need by number, and the nodes of these."""
    relations = [
        element
        for element in _elements(path, "relation")
        if element.tags.get("type") == "multipolygon" and table.matches(element.tags)
    ]
    members = {number for relation in relations for number in relation.ways}
    ways = {
        element.number: element
        for element in _elements(path, "way")
        if element.number in members or table.matches(element.tags)
    }
    return relations, ways, {number for way in ways.values() for number in way.nodes}


def _shape_of_relation(
    relation: _Element, ways: dict[int, _Element], nodes: dict[int, tuple[float, float]]
) -> Shape | None:
    rings = _rings([ways[number].nodes if number in ways else None for number in relation.ways], nodes)
    return None if rings is None else Shape(rings=rings)


def _shape_of_way(way: _Element, nodes: dict[int, tuple[float, float]]) -> Shape | None:
    line = _line(way.nodes, nodes)
    if line is None or len(line) < 2:
        return None
    is_closed = len(way.nodes) >= 4 and way.nodes[0] == way.nodes[-1]
    return Shape(rings=(line,)) if is_closed and may_be_area(way.tags) else Shape(lines=(line,))


def may_be_area(tags: Mapping[str, str]) -> bool:
    """Whether a closed way with these tags is an area rather than a line that returns to its start."""
    says = tags.get("area")
    return says != "no" and (says == "yes" or not any(name in tags for name in LINES))


def _line(numbers: Sequence[int], nodes: dict[int, tuple[float, float]]) -> NDArray[np.float64] | None:
    """(n, 2) longitude and latitude of nodes; None if one is missing."""
    points = [nodes.get(number) for number in numbers]
    return None if None in points else np.array(points, np.float64).reshape(-1, 2)


def _rings(
    ways: Sequence[Sequence[int] | None], nodes: dict[int, tuple[float, float]]
) -> tuple[NDArray[np.float64], ...] | None:
    """The ways of a multipolygon joined at their ends to rings; None if a way is missing, or a ring stays open."""
    waiting = [list(way) for way in ways if way is not None and len(way) >= 2]
    if not waiting or len(waiting) < len(ways):
        return None
    by_end: dict[int, list[int]] = {}
    for position, way in enumerate(waiting):
        if way[0] != way[-1]:
            by_end.setdefault(way[0], []).append(position)
            by_end.setdefault(way[-1], []).append(position)
    used = [False] * len(waiting)
    rings = []
    for position, way in enumerate(waiting):
        if used[position]:
            continue
        used[position] = True
        ring = way
        while ring[0] != ring[-1]:
            following = next((other for other in by_end.get(ring[-1], []) if not used[other]), None)
            if following is None:
                return None
            used[following] = True
            part = waiting[following]
            ring = ring + (part[1:] if part[0] == ring[-1] else part[-2::-1])
        line = _line(ring, nodes)
        if line is None:
            return None
        rings.append(line)
    return tuple(rings)


def _elements(path: Path, kind: str) -> Iterator[_Element]:
    """The nodes, ways or relations of a file, in its order."""
    ready: list[_Element] = []
    parser = _parser(path, kind, ready)
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                parser.Parse(block)
                yield from ready
                ready.clear()
        parser.Parse(b"", True)
        yield from ready
    except OSError as error:
        raise UserError(f"--osm {path} can't be read: {error.strerror}") from error
    except (expat.ExpatError, ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"--osm {path} is not OSM XML: {str(error)[:200]}; save the extract again") from error
    except KeyError as error:
        raise UserError(f"--osm {path} is not OSM XML: a {kind} has no {error}; save the extract again") from error


def _parser(path: Path, kind: str, ready: list[_Element]) -> expat.XMLParserType:
    """A parser that puts each finished element of a kind into a list."""
    current: list[_Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == kind:
            element = _Element(kind, int(attributes["id"]))
            if kind == "node":
                element.longitude, element.latitude = float(attributes["lon"]), float(attributes["lat"])
                if not (abs(element.longitude) <= 180 and abs(element.latitude) <= 90):
                    raise ValueError(f"node {attributes['id'][:20]} has coordinates that are not degrees")
            current.append(element)
        elif current and name == "tag":
            current[-1].tags[attributes["k"]] = attributes["v"]
        elif current and name == "nd":
            current[-1].nodes.append(int(attributes["ref"]))
        elif current and name == "member" and attributes.get("type") == "way":
            current[-1].ways.append(int(attributes["ref"]))

    def end(name: str) -> None:
        if name == kind:
            ready.append(current.pop())

    def refuse(*_: object) -> None:
        raise UserError(f"--osm {path} declares a document type, which is not read; save the extract as plain OSM XML")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = refuse
    return parser
