"""Imagery from a WMS service: one GetMap a square, in the axis order of the version and the coordinate system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt

from shards.collecting.imagery import Access, ImagerySource, NoImagery, Picture, filled, is_plain
from shards.collecting.mercator import Square
from shards.collecting.options import check_address
from shards.collecting.pictures import decode_picture, warped
from shards.collecting.tile_cache import CachedTile
from shards.collecting.web import Answer, Refused
from shards.errors import RejectedPair, UserError, first_line
from shards.records import shortened
from shards.untrusted_text import without_controls

MOST_PICTURE_BYTES = 64 << 20
WEB_MERCATOR = "EPSG:3857"
_OURS = frozenset(
    (
        "service",
        "version",
        "request",
        "layers",
        "styles",
        "srs",
        "crs",
        "bbox",
        "width",
        "height",
        "format",
        "transparent",
    )
)


class WmsSource(ImagerySource):
    """A layer of a WMS service (`--wms`)."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        check_address("wms", str(access.options.wms))
        parts = urlsplit(str(access.options.wms))
        kept = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in _OURS]
        self._base = urlunsplit(parts._replace(query="", fragment=""))
        self._kept_words = kept
        self._crs = access.options.crs.upper()
        self._is_north_first = access.options.wms_version == "1.3.0" and is_north_first(self._crs)

    @property
    def provider(self) -> str:
        """The address without its query, and the layer."""
        return f"{self._base} layer {self.access.options.layer}"

    def num_requests(self, square: Square) -> int:  # noqa: ARG002 - the same for all
        """One."""
        return 1

    def picture(self, square: Square) -> Picture:
        """Asks for exactly the square in web mercator, else for what covers it."""
        square.check()
        if square.crosses_antimeridian:
            raise RejectedPair(
                "crosses the antimeridian", f"longitude {square.longitude:g}: a WMS can't be asked for it"
            )
        bounds, width, height = covering(square, self._crs)
        answer = self._answer(bounds, width, height)
        if self.access.cache.is_placeholder(self._source, answer.sha256):
            raise NoImagery("placeholder")
        pixels = decode_picture(answer.body, width, height)
        if pixels is None:
            raise NoImagery("transparent")
        if is_plain(pixels):
            raise NoImagery("one colour")
        image: npt.NDArray[np.uint8] = pixels
        if self._crs != WEB_MERCATOR:
            image = warped(pixels, bounds, _rasterio_name(self._crs), square)
        return Picture(image, pictures=(answer.sha256,))

    def shows_placeholder(self, pictures: Sequence[str]) -> bool:
        """As the cache knows it."""
        return any(self.access.cache.is_placeholder(self._source, sha256) for sha256 in pictures)

    @property
    def _source(self) -> str:
        options = self.access.options
        words = [options.wms, options.layer, options.style, options.format, options.wms_version, self._crs]
        return hashlib.sha256(repr(words).encode()).hexdigest()[:16]

    def _answer(self, bounds: tuple[float, float, float, float], width: int, height: int) -> CachedTile:
        name = f"{','.join(map(repr, bounds))} {width}x{height}"
        known = self.access.cache.get(self._source, name)
        if known is not None:
            return known
        answer = self.access.web.read(self._address(bounds, width, height), MOST_PICTURE_BYTES, lambda each: each)
        refuse_exception(answer)
        pixels = decode_picture(answer.body, width, height)
        plain = pixels is not None and is_plain(pixels)
        return self.access.cache.put(self._source, name, answer.body, is_plain=plain)

    def _address(self, bounds: tuple[float, float, float, float], width: int, height: int) -> str:
        west, south, east, north = bounds
        box = (south, west, north, east) if self._is_north_first else bounds
        options = self.access.options
        words = {
            **{"SERVICE": "WMS", "VERSION": options.wms_version, "REQUEST": "GetMap"},
            **{"LAYERS": options.layer, "STYLES": options.style},
            "CRS" if options.wms_version == "1.3.0" else "SRS": self._crs,
            "BBOX": ",".join(f"{value:.10g}" if self._crs != WEB_MERCATOR else f"{value:.3f}" for value in box),
            **{"WIDTH": str(width), "HEIGHT": str(height), "FORMAT": options.format},
            "TRANSPARENT": "TRUE" if options.format == "image/png" else "FALSE",
        }
        kept = [(name, filled(value, {"key": self.access.key})) for name, value in self._kept_words]
        base = filled(self._base, {"key": quote(self.access.key, safe="")})
        return f"{base}?{urlencode([*kept, *words.items()])}"


def covering(square: Square, crs: str) -> tuple[tuple[float, float, float, float], int, int]:
    """What to ask for: west, south, east and north in a coordinate system, and width and height in pixels."""
    if crs == WEB_MERCATOR:
        return square.bounds, square.side, square.side
    from rasterio.transform import array_bounds
    from rasterio.warp import calculate_default_transform

    side = square.side
    transform, width, height = calculate_default_transform(
        WEB_MERCATOR, _rasterio_name(crs), side + 4, side + 4, *_grown(square.bounds, 2 * square.pixel)
    )
    west, south, east, north = array_bounds(height, width, transform)
    return (west, south, east, north), width, height


def is_north_first(crs: str) -> bool:
    """Whether the first axis of a coordinate system points north or south, as WMS 1.3.0 orders a box.

    Raises:
        UserError: PROJ does not know it.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        text = CRS.from_string(_rasterio_name(crs)).to_wkt(version="WKT2_2019")
    except CRSError as error:
        raise UserError(f"--crs {crs} is unknown ({first_line(error)}); give one such as EPSG:3857") from error
    first_axis = re.search(r'AXIS\["[^"]*",\s*(\w+)', text)
    return first_axis is not None and first_axis[1].lower() in ("north", "south")


def refuse_exception(answer: Answer) -> None:
    """Refuses the XML with which OGC services report a mistake.

    Raises:
        Refused: it is XML; the message is its text.
    """
    if "xml" in answer.content_type or answer.body.lstrip()[:1] == b"<":
        text = re.sub(r"<[^<>]*>", " ", answer.body[:4000].decode("utf-8", "replace"))
        raise Refused(f"the service reports: {shortened(' '.join(without_controls(text).split()), 200) or 'XML'}")


def _rasterio_name(crs: str) -> str:
    return "OGC:CRS84" if crs == "CRS:84" else crs


def _grown(bounds: tuple[float, float, float, float], by: float) -> tuple[float, float, float, float]:
    west, south, east, north = bounds
    return west - by, south - by, east + by, north + by
