"""Imagery from a WMTS service: GetTile by key-value pairs or by a template, from its capabilities or as given."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from shards.collecting.imagery import Access, filled
from shards.collecting.mercator import HALF_WORLD
from shards.collecting.options import check_address
from shards.collecting.tiled_maps import TiledSource
from shards.collecting.tiles_options import TilesOptions
from shards.collecting.web import Answer, Refused, Unreachable
from shards.errors import UserError
from shards.records import shortened
from shards.registry import nearest
from shards.sources.xml_text import child_texts, local_name, parse_xml

MOST_CAPABILITIES_BYTES = 64 << 20
_SCALE_OF_ZOOM_0 = 2 * HALF_WORLD / 256 / 0.00028
"""559,082,264: the scale denominator of a 256-pixel tile of the whole map, whose pixels are 0.28 mm by definition."""
_PLACEHOLDERS = re.compile(r"\{(TileMatrix|TileRow|TileCol)\}", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """How the tiles of a layer are asked for.

    Attributes:
        template: address with {TileMatrix}, {TileRow} and {TileCol}.
        levels: name of the tile matrix of each zoom level; empty if levels are named by their number.
    """

    template: str
    levels: dict[int, str]


class WmtsSource(TiledSource):
    """A layer of a WMTS service (`--wmts`)."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        options = access.options
        address = str(options.wmts)
        check_address("wmts", address)
        if "{key}" in address and not access.key:
            raise UserError("--wmts has {key}; give it with --key or EARSHOT_IMAGERY_KEY")
        if _PLACEHOLDERS.search(address):
            self._layer = Layer(_completed(address, options), {})
        elif is_capabilities(address):
            self._layer = self._from_capabilities(address)
        else:
            self._layer = Layer(_by_words(address, options), {})
        missing = {"tilematrix", "tilerow", "tilecol"} - {
            name.lower() for name in _PLACEHOLDERS.findall(self._layer.template)
        }
        if missing:
            raise UserError(
                f"--wmts: the template lacks {{{sorted(missing)[0]}}}; give TileMatrix, TileRow and TileCol"
            )

    @property
    def template(self) -> str:
        """The address of tiles, without the key."""
        return self._layer.template

    @property
    def max_zoom(self) -> int:
        """The finest level of the option and of the capabilities."""
        return min([self.access.options.max_zoom, *([max(self._layer.levels)] if self._layer.levels else [])])

    def address(self, zoom: int, column: int, row: int) -> str:
        """The template filled in."""
        values = {"tilematrix": self._layer.levels.get(zoom, str(zoom)), "tilerow": str(row), "tilecol": str(column)}
        path = _PLACEHOLDERS.sub(lambda match: quote(values[match[1].lower()], safe=":"), self._layer.template)
        return filled(path, {"key": quote(self.access.key, safe="")})

    def _from_capabilities(self, address: str) -> Layer:
        filled_in = filled(address, {"key": quote(self.access.key, safe="")})
        try:
            return self.access.web.read(
                filled_in, MOST_CAPABILITIES_BYTES, lambda answer: layer_of(answer, address, self.access.options)
            )
        except (Refused, Unreachable) as error:
            raise UserError(f"--wmts: the capabilities can't be read: {self.access.web.shown(str(error))}") from error


def is_capabilities(address: str) -> bool:
    """Whether an address is that of a capabilities document rather than of the service."""
    parts = urlsplit(address)
    words = {name.lower(): value.lower() for name, value in parse_qsl(parts.query)}
    return parts.path.lower().endswith(".xml") or words.get("request") == "getcapabilities"


def layer_of(answer: Answer, address: str, options: TilesOptions) -> Layer:
    """Finds a layer in the capabilities of a WMTS service.

    Args:
        answer: the capabilities.
        address: where they are from; GetTile is asked there if they name no other place.
        options: layer, style, format and tile size.

    Raises:
        DamagedRecord: it is no XML.
        UserError: the layer, or a matrix set in web mercator, is missing.
    """
    root = parse_xml(answer.body, "the capabilities")
    layers = [each for each in root.iter() if local_name(each.tag) == "Layer" and "Identifier" in child_texts(each)]
    named = {child_texts(each)["Identifier"][0]: each for each in layers}
    if options.layer not in named:
        raise UserError(
            f"--layer {options.layer!r}: the service has no such layer; {nearest(options.layer, list(named))}it has: "
            f"{', '.join(shortened(name, 30) for name in sorted(named)[:8])}"
        )
    layer = named[options.layer]
    linked = [
        text for each in layer.iter() if local_name(each.tag) == "TileMatrixSet" and (text := (each.text or "").strip())
    ]
    sets = {
        child_texts(each)["Identifier"][0]: each
        for each in root.iter()
        if local_name(each.tag) == "TileMatrixSet" and "Identifier" in child_texts(each)
    }
    usable = {name: levels for name in linked if name in sets and (levels := _levels(sets[name], options.tile_size))}
    if not usable:
        names = shortened(", ".join(linked), 100)
        raise UserError(
            f"--layer {options.layer}: none of its matrix sets ({names}) is web mercator with tiles of "
            f"{options.tile_size} pixels; give another layer, --tile-size, or --wms"
        )
    matrix_set = options.matrix_set if options.matrix_set in usable else next(iter(usable))
    style = options.style or _default_style(layer)
    template = _resource_template(layer, options.format)
    if template:
        words = {"TileMatrixSet": matrix_set, "Style": style, **_dimensions(layer)}
        for name, value in words.items():
            template = re.sub(re.escape(f"{{{name}}}"), quote(value), template, flags=re.IGNORECASE)
        check_address("wmts", template)
    else:
        template = _by_words(_address_of_get_tile(root) or address, options, matrix_set, style)
        check_address("wmts", template)
    return Layer(template, usable[matrix_set])


def _levels(matrix_set: Any, tile_size: int) -> dict[int, str]:
    """Name of the matrix of each zoom level; none if the set is not that of web maps."""
    levels = {}
    for matrix in matrix_set:
        if local_name(matrix.tag) != "TileMatrix":
            continue
        texts = {name: values[0] for name, values in child_texts(matrix).items()}
        try:
            zoom = math.log2(_SCALE_OF_ZOOM_0 / float(texts["ScaleDenominator"])) + math.log2(256 / tile_size)
            corner = [float(value) for value in texts["TopLeftCorner"].split()]
            size = int(texts["TileWidth"])
        except (KeyError, ValueError, ZeroDivisionError):
            return {}
        is_of_the_map = len(corner) == 2 and abs(corner[0] + HALF_WORLD) < 1 and abs(corner[1] - HALF_WORLD) < 1
        if size != tile_size or not is_of_the_map or abs(zoom - round(zoom)) > 0.01 or round(zoom) < 0:
            return {}
        levels[round(zoom)] = texts["Identifier"]
    return levels


def _resource_template(layer: Any, wanted_format: str) -> str:
    """The template of a layer's tiles, of the wanted format if there are several; "" without one."""
    found = [
        each for each in layer
        if local_name(each.tag) == "ResourceURL" and each.get("resourceType") == "tile" and each.get("template")
    ]  # fmt: skip
    found.sort(key=lambda each: each.get("format") != wanted_format)
    return str(found[0].get("template")) if found else ""


def _address_of_get_tile(root: Any) -> str:
    """Where the capabilities say that GetTile is asked, "" if nowhere."""
    for operation in root.iter():
        if local_name(operation.tag) == "Operation" and operation.get("name") == "GetTile":
            for each in operation.iter():
                if local_name(each.tag) == "Get":
                    return next((value for name, value in each.items() if local_name(name) == "href"), "")
    return ""


def _default_style(layer: Any) -> str:
    styles = [each for each in layer if local_name(each.tag) == "Style"]
    styles.sort(key=lambda each: each.get("isDefault") != "true")
    return child_texts(styles[0]).get("Identifier", [""])[0] if styles else ""


def _dimensions(layer: Any) -> dict[str, str]:
    """The default of each dimension, such as Time."""
    found = {}
    for each in layer:
        texts = child_texts(each) if local_name(each.tag) == "Dimension" else {}
        if "Identifier" in texts and (values := texts.get("Default") or texts.get("Value")):
            found[texts["Identifier"][0]] = values[0]
    return found


def _completed(template: str, options: TilesOptions) -> str:
    """A template with its other placeholders filled in, as the options say."""
    words = {"TileMatrixSet": options.matrix_set, "Style": options.style or "default", "Layer": options.layer}
    for name, value in words.items():
        template = re.sub(re.escape(f"{{{name}}}"), quote(value), template, flags=re.IGNORECASE)
    return template


def _by_words(address: str, options: TilesOptions, matrix_set: str = "", style: str = "") -> str:
    """GetTile by key-value pairs as a template."""
    parts = urlsplit(address)
    kept = [(n, v) for n, v in parse_qsl(parts.query) if n.lower() not in ("service", "request", "version")]
    words = {
        **{"SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": options.layer},
        **{"STYLE": style or options.style, "FORMAT": options.format},
        "TILEMATRIXSET": matrix_set or options.matrix_set,
    }
    query = urlencode([*kept, *words.items()], safe="{}")
    query += "&TILEMATRIX={TileMatrix}&TILEROW={TileRow}&TILECOL={TileCol}"
    return urlunsplit(parts._replace(query=query, fragment=""))
