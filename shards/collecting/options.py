"""The options of `collect` and its verbs."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from shards.command_line import repeatable
from shards.errors import UserError


@dataclass(frozen=True)
class PoliteOptions:
    """How servers are asked; the same for sounds and imagery."""

    rate: float = 1.0
    """Requests per second at most, retries and redirects included."""

    contact: str = ""
    """An e-mail address or page that the User-Agent names, so that a server's operator can reach you."""

    attempts: int = 6
    """Attempts at a request before it counts as failed; waits between them double."""

    backoff: float = 2.0
    """Seconds before the second attempt, at most; a server's own Retry-After comes first."""

    longest_wait: float = 3600.0
    """Seconds that a server may ask to wait (Retry-After); if it asks for more, the command ends and can be resumed."""

    yes: bool = False
    """Begin without asking, whatever the estimate."""

    def check(self) -> None:
        """Checks the values.

        Raises:
            UserError: one is out of range.
        """
        for name, value in (("rate", self.rate), ("backoff", self.backoff), ("longest-wait", self.longest_wait)):
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"--{name} must be > 0, got {value:g}")
        if self.attempts < 1:
            raise UserError(f"--attempts must be at least 1, got {self.attempts}")
        if not self.contact.isascii() or not self.contact.isprintable():
            raise UserError(f"--contact {self.contact!r} must be printable ASCII; it goes into a header")


@dataclass(frozen=True)
class SoundLimits(PoliteOptions):
    """Which sounds are taken."""

    bbox: tuple[float, float, float, float] | None = None
    """WEST SOUTH EAST NORTH in degrees: only sounds within; west > east crosses the antimeridian."""

    limit: int | None = None
    """Only the first N of the list."""

    min_seconds: float = 1.0
    """Sounds whose stated length is shorter are left out."""

    max_file_mb: float = 2000.0
    """Files of more megabytes are left out."""

    def check(self) -> None:
        """Checks the values; raises UserError as that of the base."""
        super().check()
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (all(-180 <= x <= 180 for x in (west, east)) and -90 <= south < north <= 90):
                raise UserError(
                    f"--bbox {west:g} {south:g} {east:g} {north:g} must be WEST SOUTH EAST NORTH in degrees, "
                    "south < north"
                )
        if self.limit is not None and self.limit < 1:
            raise UserError(f"--limit must be at least 1, got {self.limit}")
        if not self.max_file_mb > 0:
            raise UserError(f"--max-file-mb must be > 0, got {self.max_file_mb:g}")


@dataclass(frozen=True)
class AporeeOptions(SoundLimits):
    """Collects the recordings of Radio Aporee ::: Maps from the Internet Archive.

    An interrupted collection resumes when rerun; nothing is fetched twice. rejected-sounds.csv says what was left out.
    """

    out: Path = Path("data/aporee")
    """Folder of the collection, in the layout of `build --source recordings`."""

    since: str = ""
    """YYYY-MM-DD: only items that were published on that day or later."""

    collection: str = "radio-aporee-maps"
    """Name of the archive's collection."""

    base_url: str = "https://archive.org"
    """Address of the archive, or of a mirror with the same interfaces."""

    refresh: bool = False
    """List the archive anew, for items that were added since; what is known is not fetched again."""

    def check(self) -> None:
        """Checks the values; raises UserError as that of the base."""
        super().check()
        try:
            datetime.date.fromisoformat(self.since or "2000-01-01")
        except ValueError as error:
            raise UserError(f"--since must be a date YYYY-MM-DD, got {self.since!r}") from error
        if not all(letter.isalnum() or letter in "._-" for letter in self.collection) or not self.collection:
            raise UserError(
                f"--collection must be a name of letters, digits, '.', '_' and '-', got {self.collection!r}"
            )
        check_address("base-url", self.base_url)


@dataclass(frozen=True)
class SoundTableOptions(SoundLimits):
    """Collects geotagged sounds from a table of addresses.

    The table needs columns for the address, longitude and latitude; key, title, description, creator, licence and date
    are recognised as by `build`, and columns md5, sha1, sha256 and bytes are compared with what arrives.
    """

    table: Path = Path()
    """The table: CSV with any usual separator, XLSX, GeoJSON, Parquet or GPX."""

    out: Path = Path("data/sounds")
    """Folder of the collection, in the layout of `build --source recordings`."""

    url_column: str = "url"
    """Column of the addresses (http or https)."""

    column: Annotated[tuple[tuple[str, ...], ...], repeatable()] = ()
    """role=NAME: the column of a role, as for `build`."""

    def check(self) -> None:
        """Checks the values; raises UserError as that of the base."""
        super().check()
        if self.table == Path():
            raise UserError("--table is missing; give the table with the addresses of the sounds")


@dataclass(frozen=True)
class CleanOptions:
    """Excludes recordings whose title, description or file name match rules, reversibly.

    Matches are listed in review.csv and their rows move from metadata.csv to excluded.csv; no file is deleted.
    """

    root: Path
    """Folder of the collection, or of any corpus of `build --source recordings` with a metadata.csv."""

    rules: Path | None = None
    """Rules instead of the default ones: a line of plain words, or /a regular expression/; # begins a comment."""

    restore: tuple[str, ...] = ()
    """Keys to put back where they were, or all; later runs leave them in."""

    dry_run: bool = False
    """Only write review.csv."""


@dataclass(frozen=True)
class TilesOptions(PoliteOptions):
    """Collects an overhead image for each place of a collection, from a service or raster that you may use.

    Images are north up, centred on the place. Exactly one of --xyz, --wmts, --wms, --cog and --stac says where from.
    An interrupted run resumes when rerun; no tile is fetched twice.
    """

    rate: float = 5.0
    """Requests per second at most, retries and redirects included."""

    out: Path = Path("data/aporee")
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


def check_address(option: str, address: str) -> None:
    """Checks that an address is one of http or https.

    Raises:
        UserError: it is none.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UserError(f"--{option} must be an http or https address, got {address!r}")
