"""The options of `collect tiles`: where imagery is from, under which terms, and which extent images have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shards.collecting.options import PoliteOptions
from shards.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TilesOptions(PoliteOptions):
    """Collects an overhead image for each place of a collection, from a service or raster that you may use.

    Images are north up, centred on the place. Exactly one of --xyz, --wmts, --wms, --cog and --stac says where from.
    An interrupted run resumes when rerun; no tile is fetched twice.
    """

    rate: float = 5.0
    """Requests per second at most, retries and redirects included."""

    out: Path
    """Folder of the collection, with metadata.csv."""

    xyz: str | None = None
    """Address of tiles with {z}, {x}, {y}, or {-y} counted from the south, or {q} (quadkey); {key} is the key."""

    wmts: str | None = None
    """Address of a WMTS service: of its capabilities, of GetTile by KVP (with --layer), or a template with
    {TileMatrix}, {TileRow} and {TileCol}; its matrix set is web mercator."""

    wms: str | None = None
    """Address of a WMS service, with --layer."""

    cog: str | None = None
    """A cloud-optimised GeoTIFF: a file or an address."""

    stac: str | None = None
    """A STAC item, or a collection of items as a search returns it: a file or an address."""

    terms: str = ""
    """Address of the terms under which you may use the imagery; needed, and kept in the metadata."""

    attribution: str = ""
    """How the provider wants to be named; needed, and kept in the metadata."""

    key: str | None = None
    """Key of the service, for {key} in its address. It is never written down; EARSHOT_IMAGERY_KEY keeps it out of the
    shell's history too."""

    date: str = ""
    """Date of the imagery, for the metadata, where the source does not state it."""

    metres_per_pixel: float | None = None
    """Size of a pixel on the ground; 0.2, as SoundingEarth's, unless --zoom is given."""

    zoom: int | None = None
    """Pixels of this zoom level instead: 156,543.03 · cos(latitude) / 2^zoom metres."""

    max_zoom: int = 19
    """The finest zoom level that the service has."""

    coarser: int = 3
    """Levels by which imagery may be coarser than wanted, where the service has nothing better."""

    side: int = 1024
    """Width and height of an image in pixels."""

    scales: tuple[int, ...] = (1,)
    """Images of several extents, such as 1 3 5: K shows K times the width; for K > 1 they lie in images_xK/."""

    tile_size: Literal[256, 512] = 256
    """Width of the service's tiles in pixels."""

    layer: str = ""
    """Layer of the WMS or WMTS service."""

    style: str = ""
    """Style of the WMS or WMTS service."""

    format: str = "image/jpeg"
    """Image format that is asked of a WMS or WMTS service."""

    matrix_set: str = "GoogleMapsCompatible"
    """Tile matrix set of the WMTS service."""

    wms_version: Literal["1.1.1", "1.3.0"] = "1.3.0"
    """Version of the WMS interface."""

    crs: str = "EPSG:3857"
    """Coordinate system that the WMS service is asked in."""

    asset: str = ""
    """Asset of the STAC item; by default its visual, or only, GeoTIFF."""

    bands: tuple[int, int, int] = (1, 2, 3)
    """Bands of a COG that become red, green and blue. Of more than 8 bits, they are kept as a GeoTIFF for `build`."""

    placeholder: tuple[str, ...] = ()
    """Files of a service's "no imagery" picture, or their SHA-256. A picture that repeats at four addresses is taken
    for one by itself."""

    jpeg_quality: int = 95
    """Quality of the images, 1 to 100."""

    overwrite: bool = False
    """Replace images that are there from elsewhere or from other settings."""

    def check(self) -> None:
        """Checks the values; raises UserError as that of the base."""
        super().check()
        given = [name for name in ("xyz", "wmts", "wms", "cog", "stac") if getattr(self, name)]
        if len(given) != 1:
            raise UserError(f"give exactly one of --xyz, --wmts, --wms, --cog, --stac, got {' '.join(given) or 'none'}")
        for name in ("terms", "attribution"):
            if not getattr(self, name).strip():
                raise UserError(
                    f"--{name} is missing; collect imagery only where you have the right to, and state its {name}, "
                    "kept in the metadata"
                )
        if self.zoom is not None and self.metres_per_pixel is not None:
            raise UserError("give --zoom or --metres-per-pixel, not both")
        self._check_ranges()
        if (self.wms or (self.wmts and "{" not in self.wmts)) and not self.layer:
            raise UserError(f"--{given[0]} needs --layer NAME; the service's capabilities list its layers")

    def _check_ranges(self) -> None:
        if self.metres_per_pixel is not None and not 0.01 <= self.metres_per_pixel <= 1000:
            raise UserError(f"--metres-per-pixel must be 0.01 to 1000, got {self.metres_per_pixel:g}")
        for name, value, low, high in (
            ("zoom", self.zoom if self.zoom is not None else 0, 0, 24),
            ("max-zoom", self.max_zoom, 0, 24),
            ("coarser", self.coarser, 0, 24),
            ("side", self.side, 16, 4096),
            ("jpeg-quality", self.jpeg_quality, 1, 100),
        ):
            if not low <= value <= high:
                raise UserError(f"--{name} must be {low} to {high}, got {value}")
        if not self.scales or min(self.scales) < 1 or max(self.scales) > 64 or len(set(self.scales)) < len(self.scales):
            raise UserError(
                f"--scales must be different whole numbers from 1 to 64, got {' '.join(map(str, self.scales))}"
            )
