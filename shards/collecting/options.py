"""The options of `collect` and its verbs, those of `tiles` aside."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from shards.command_line.verbs import repeatable
from shards.errors import UserError


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class AporeeOptions(SoundLimits):
    """Collects the recordings of Radio Aporee ::: Maps from the Internet Archive.

    An interrupted collection resumes when rerun; nothing is fetched twice. rejected-sounds.csv says what was left out.
    """

    out: Path
    """Folder of the collection, in the layout of `build --source recordings`."""

    since: str = ""
    """YYYY-MM-DD: only items that were published on that day or later."""

    collection: str = "radio-aporee-maps"
    """Name of the archive's collection."""

    base_url: str = "https://archive.org"
    """Address of the archive, or of a mirror with the same interfaces."""

    refresh: bool = False
    """List the archive again, for items that were added since; what is known is not fetched again."""

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


@dataclass(frozen=True, kw_only=True)
class SoundTableOptions(SoundLimits):
    """Collects geotagged sounds from a table of addresses.

    The table needs columns for the address, longitude and latitude; key, title, description, creator, licence and date
    are recognised as by `build`, and columns md5, sha1, sha256 and bytes are compared with what arrives.
    """

    table: Path
    """The table: CSV with any usual separator, XLSX, GeoJSON, Parquet or GPX."""

    out: Path
    """Folder of the collection, in the layout of `build --source recordings`."""

    url_column: str = "url"
    """Column of the addresses (http or https)."""

    column: Annotated[tuple[tuple[str, ...], ...], repeatable()] = ()
    """role=NAME: the column of a role, as for `build`."""


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


def check_address(option: str, address: str) -> None:
    """Checks that an address is one of http or https.

    Raises:
        UserError: it is none.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UserError(f"--{option} must be an http or https address, got {address!r}")
