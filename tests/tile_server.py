"""A stand-in for imagery services: tiles, WMS and files of one made-up map, whose colours are a formula."""

from __future__ import annotations

import io
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
import numpy.typing as npt
from archive_server import served
from PIL import Image

HALF_WORLD = math.pi * 6378137.0
WAVE_METRES = 400.0
"""Wavelength of the map's pattern in mercator metres: smooth at all zoom levels that tests ask for."""

NO_SUCH_LAYER = b"""<?xml version="1.0"?><!DOCTYPE ServiceExceptionReport SYSTEM "exception_1_1_1.dtd">
<ServiceExceptionReport><ServiceException code="LayerNotDefined">no such layer</ServiceException>
</ServiceExceptionReport>
"""

Rgb = npt.NDArray[np.uint8]


def map_colours(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Rgb:
    """The map: red and green are waves in x and y, blue is one in their sum; continuous across the antimeridian.

    Args:
        x, y: mercator metres.
    """
    waves = round(2 * HALF_WORLD / WAVE_METRES)
    phase = [2 * np.pi * waves * value / (2 * HALF_WORLD) for value in (x, y, x + 2 * y)]
    return np.stack([np.rint(127.5 + 100 * np.sin(value)) for value in phase], axis=-1).astype(np.uint8)


def picture(west: float, south: float, east: float, north: float, width: int, height: int) -> Rgb:
    """The map within bounds, sampled at the centres of pixels."""
    x = west + (np.arange(width) + 0.5) * (east - west) / width
    y = north - (np.arange(height) + 0.5) * (north - south) / height
    return map_colours(*np.meshgrid(x, y))


def tile_picture(zoom: int, column: int, row: int, size: int = 256) -> Rgb:
    """A tile of the map."""
    width = 2 * HALF_WORLD / 2**zoom
    west, north = column * width - HALF_WORLD, HALF_WORLD - row * width
    return picture(west, north - width, west + width, north, size, size)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A picture as PNG, of whatever channels."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@dataclass
class TileServer:
    """A running service.

    Attributes:
        url: its address.
        tile: (zoom, column, row) → answer: bytes of a picture, or a status. By default the map.
        files: content of further paths, served with ranges.
        key: that addresses must have as `?key=`, "" for none.
        tile_size: width of tiles.
        requests: (monotonic seconds, path with its query), in order.
        statuses: answered to the next requests instead.
    """

    url: str = ""
    tile: Callable[[int, int, int], bytes | int] | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    key: str = ""
    tile_size: int = 256
    requests: list[tuple[float, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Paths and queries of the requests."""
        return [path for _, path in self.requests]


@contextmanager
def serve_tiles() -> Iterator[TileServer]:
    """Serves the map on 127.0.0.1 while the context lasts."""
    server = TileServer()
    with served(_handler(server)) as server.url:
        yield server


def _handler(server: TileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            server.requests.append((time.monotonic(), self.path))
            parts = urlsplit(self.path)
            words = {name.lower(): value for name, value in parse_qsl(parts.query)}
            path = unquote(parts.path)
            if server.statuses:
                self._send(b"not now", server.statuses.pop(0))
            elif server.key and words.get("key") != server.key:
                self._send(b"no key", 403)
            elif path in server.files:
                self._send_range(server.files[path])
            elif words.get("service", "").upper() == "WMS":
                self._wms(words)
            elif words.get("service", "").upper() == "WMTS" and words["request"] == "GetTile":
                level = int(words["tilematrix"].rpartition(":")[2])
                self._tile(level, int(words["tilecol"]), int(words["tilerow"]))
            elif match := re.fullmatch(r"/(?:[\w:-]+/)*(?:L)?(\d+)/(\d+)/(\d+)(?:\.\w+)?", path):
                self._tile(*map(int, match.groups()))
            else:
                self._send(b"no such place", 404)

        def _tile(self, zoom: int, column: int, row: int) -> None:
            answer: Any = (
                png(tile_picture(zoom, column, row, server.tile_size))
                if server.tile is None
                else server.tile(zoom, column, row)
            )
            if isinstance(answer, int):
                self._send(b"", answer)
            else:
                self._send(answer, 200, "image/png")

        def _wms(self, words: dict[str, str]) -> None:
            """GetMap as the two versions define it: 1.3.0 orders a box by the axes of the coordinate system."""
            crs = words.get("crs" if words["version"] == "1.3.0" else "srs", "")
            box = [float(value) for value in words["bbox"].split(",")]
            if words["layers"] != "photos" or crs not in ("EPSG:3857", "EPSG:4326", "CRS:84"):
                self._send(NO_SUCH_LAYER, 200, "text/xml")
                return
            if crs == "EPSG:4326" and words["version"] == "1.3.0":
                box = [box[1], box[0], box[3], box[2]]
            width, height = int(words["width"]), int(words["height"])
            if crs == "EPSG:3857":
                pixels = picture(*box, width, height)
            else:
                longitude = box[0] + (np.arange(width) + 0.5) * (box[2] - box[0]) / width
                latitude = box[3] - (np.arange(height) + 0.5) * (box[3] - box[1]) / height
                x = np.radians(longitude) * 6378137.0
                y = np.arcsinh(np.tan(np.radians(latitude))) * 6378137.0
                pixels = map_colours(*np.meshgrid(x, y))
            self._send(png(pixels), 200, "image/png")

        def _send_range(self, data: bytes) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if match is None:
                self._send(data, 200)
                return
            first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
            self._send(data[first : last + 1], 206, **{"Content-Range": f"bytes {first}-{last}/{len(data)}"})

        def _send(self, data: bytes, status: int, kind: str = "application/octet-stream", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Accept-Ranges": "bytes", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(OSError):
                    self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def write_cog(
    path: Path, longitude: float, latitude: float, metres: float = 600.0, pixel: float = 0.5, **more: Any
) -> Path:
    """Writes the map around a place as a tiled GeoTIFF in web mercator, of this width and pixel in mercator metres."""
    import rasterio
    from rasterio.transform import from_bounds

    x = math.radians(longitude) * 6378137.0
    y = math.asinh(math.tan(math.radians(latitude))) * 6378137.0
    side = int(metres / pixel)
    bounds = (x - metres / 2, y - metres / 2, x + metres / 2, y + metres / 2)
    pixels = picture(*bounds, side, side).astype(more.pop("dtype", "uint8")) * more.pop("factor", 1)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype=pixels.dtype, crs="EPSG:3857",
        transform=from_bounds(*bounds, side, side), tiled=True, blockxsize=256, blockysize=256,
    ) as raster:  # fmt: skip
        raster.write(pixels.transpose(2, 0, 1))
        raster.update_tags(TIFFTAG_DATETIME="2019:07:01 12:00:00", **more)
    return path
