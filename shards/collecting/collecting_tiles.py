"""Collects an image for each place of a collection, notes where it is from, and accounts for places without one."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shards.atomic_files import write_bytes_atomically, written_whole
from shards.collecting.collection import Collection, Row, write_rejected
from shards.collecting.imagery import ImagerySource, NoImagery, Picture
from shards.collecting.mercator import Square, metres_per_pixel
from shards.collecting.pictures import encode_jpeg, write_geotiff
from shards.collecting.tile_cache import TileCache
from shards.collecting.tiles_options import TilesOptions
from shards.collecting.web import Refused, Unreachable
from shards.errors import RejectedPair, UserError
from shards.progress import ProgressLine
from shards.records import json_as
from shards.schema import Rejection
from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, parse_coordinate
from shards.sources.metadata_table import check_coordinates

CACHE_NAME = "tiles.sqlite"
REJECTED_NAME = "rejected-tiles.csv"
COMMAND = "collect tiles"
DEFAULT_METRES = 0.2
"""SoundingEarth's images have about 0.2 m a pixel."""
FAILURES_IN_A_ROW = 5
"""Failures of one kind, without an image between them, after which the service counts as down."""

_SUFFIXES = (".jpg", ".tif")


@dataclass
class TileTotals:
    """What a run has done.

    Attributes:
        made: images that were written.
        kept: images that were there already.
        rejected: places without an image, or without one of the scales.
    """

    made: int = 0
    kept: int = 0
    rejected: list[Rejection] = field(default_factory=list)


class TileCollector:
    """Makes the images of a collection.

    Args:
        source: of the imagery.
        cache: of the collection.
        collection: its tables.
        options: extent, scales, and what goes into the metadata.
    """

    def __init__(self, source: ImagerySource, cache: TileCache, collection: Collection, options: TilesOptions) -> None:
        self._source = source
        self._cache = cache
        self._collection = collection
        self._options = options
        self._failures: Counter[str] = Counter()
        # Places without imagery are tried again; they stay out until there is some.
        self._rows = [row for row in collection.rows if row.excluded_by in ("", COMMAND)]

    def wanted(self) -> list[tuple[Row, int]]:
        """The images that are not there yet: row and scale."""
        return self.wanted_of(self._collection, self._options)

    @staticmethod
    def wanted_of(collection: Collection, options: TilesOptions) -> list[tuple[Row, int]]:
        """The images that a collection lacks: row and scale."""
        rows = [row for row in collection.rows if row.excluded_by in ("", COMMAND)]
        pairs = [(row, scale) for row in rows for scale in options.scales]
        return [pair for pair in pairs if options.overwrite or _existing(collection.root, *pair) is None]

    def num_requests(self, wanted: list[tuple[Row, int]]) -> int:
        """About how many requests they take, from the first hundred."""
        counts = []
        for row, scale in wanted[:100]:
            try:
                square = self._square(row, scale)
                square.check()
                counts.append(self._source.num_requests(square))
            except RejectedPair:
                continue
        return round(len(wanted) * sum(counts) / max(1, len(counts)))

    def collect(self) -> TileTotals:
        """Makes all images, and writes the tables, also when it is interrupted.

        Raises:
            UserError: the service is down, or refuses everything.
        """
        totals = TileTotals()
        try:
            self._make_all(self._rows, totals)
            # Placeholders are known by their repetition: images that were made before are looked at once more.
            doubtful = [row for row in self._collection.included if self._has_placeholder(row)]
            if doubtful:
                self._make_all(doubtful, totals, again=True)
        finally:
            self._collection.save()
            write_rejected(self._collection.root / REJECTED_NAME, totals.rejected)
        return totals

    def _make_all(self, rows: list[Row], totals: TileTotals, *, again: bool = False) -> None:
        title = "replacing images that show a placeholder" if again else "collecting images"
        with ProgressLine(title, len(rows) * len(self._options.scales)) as progress:
            for row in rows:
                for scale in self._options.scales:
                    is_there = self._make_one(row, scale, totals, again=again)
                    progress.advance(detail=f"{totals.made:,} made, {len(totals.rejected):,} without")
                    if scale == self._options.scales[0]:
                        if not is_there:
                            break
                        row.include()

    def _make_one(self, row: Row, scale: int, totals: TileTotals, *, again: bool) -> bool:
        """Makes an image unless it is there; returns whether it is there now."""
        existing = self._existing(row, scale)
        if existing is not None and not again and not (self._options.overwrite and not self._is_finished(existing)):
            totals.kept += 1
            self._note_existing(row, existing)
            return True
        try:
            picture = self._source.picture(self._square(row, scale))
            self._write(row, scale, picture)
        except NoImagery as error:
            self._reject(row, scale, totals, "no imagery", str(error))
        except RejectedPair as error:
            self._reject(row, scale, totals, error.reason, error.detail)
        except (Refused, Unreachable) as error:
            reason = "refused by the service" if isinstance(error, Refused) else "not reachable"
            self._reject(row, scale, totals, reason, str(error))
            self._failures[reason] += 1
            if self._failures[reason] == FAILURES_IN_A_ROW:
                remedy = "check --key and the address" if isinstance(error, Refused) else "check the network"
                raise UserError(
                    f"{FAILURES_IN_A_ROW} places in a row were {reason}, the last: {error}; {remedy}, and run the same "
                    "command again, it resumes"
                ) from error
        else:
            totals.made += 1
            self._failures.clear()
            return True
        return False

    def _reject(self, row: Row, scale: int, totals: TileTotals, reason: str, detail: str) -> None:
        self._remove(row, scale)
        totals.rejected.append(Rejection(row.key, reason, f"{detail} (scale {scale})" if scale > 1 else detail))
        if scale == self._options.scales[0]:
            row.exclude(COMMAND, f"{reason}: {detail}")
        else:
            self._collection.set_fields(row, {f"image_x{scale}": ""})

    def _square(self, row: Row, scale: int) -> Square:
        texts = self._collection.field(row, "longitude"), self._collection.field(row, "latitude")
        try:
            longitude, latitude = parse_coordinate(texts[0], LONGITUDE_AXIS), parse_coordinate(texts[1], LATITUDE_AXIS)
        except ValueError as error:
            raise RejectedPair("unreadable coordinates", f"longitude {texts[0]!r}, latitude {texts[1]!r}") from error
        check_coordinates(longitude, latitude)
        options = self._options
        if options.zoom is not None:
            metres = metres_per_pixel(latitude, options.zoom)
        else:
            metres = options.metres_per_pixel or DEFAULT_METRES
        return Square(longitude, latitude, metres * scale, options.side)

    def _write(self, row: Row, scale: int, picture: Picture) -> None:
        square = self._square(row, scale)
        suffix = ".jpg" if picture.pixels.dtype == np.uint8 else ".tif"
        path = self._stem(row, scale).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".jpg":
            write_bytes_atomically(path, encode_jpeg(picture.pixels, self._options.jpeg_quality))
        else:
            with written_whole(path) as partial:
                write_geotiff(partial, picture.pixels, square.bounds)
        fields = self._fields(square, scale, picture, path)
        self._cache.finish(self._name(path), self._settings(scale), json.dumps(fields), picture.pictures)
        self._collection.set_fields(row, fields)

    def _fields(self, square: Square, scale: int, picture: Picture, path: Path) -> dict[str, str]:
        if scale > 1:
            return {f"image_x{scale}": self._name(path)}
        options = self._options
        return {
            "image_provider": self._source.provider,
            "image_attribution": options.attribution,
            "image_terms": options.terms,
            "image_date": picture.date or options.date,
            "image_fetched": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "image_metres_per_pixel": f"{square.metres_per_pixel:.4g}",
            "image_native_metres": "" if picture.native_metres is None else f"{picture.native_metres:.4g}",
            "image_zoom": "" if picture.zoom is None else str(picture.zoom),
        }

    def _note_existing(self, row: Row, path: Path) -> None:
        """Fills in what was known when the image was made, for a run that was killed before it wrote the tables."""
        finished = self._cache.finished(self._name(path))
        if finished is not None:
            self._collection.set_fields(
                row, json_as(dict[str, str], finished[1], CACHE_NAME, "move it away to start over")
            )

    def _has_placeholder(self, row: Row) -> bool:
        return any(
            self._source.shows_placeholder(pictures)
            for scale in self._options.scales
            if (path := self._existing(row, scale))
            and (pictures := (self._cache.finished(self._name(path)) or ("", "", []))[2])
        )

    def _is_finished(self, path: Path) -> bool:
        """Whether an image was made with these settings."""
        finished = self._cache.finished(self._name(path))
        scale = 1 if path.parent.name == "images" else int(path.parent.name.rpartition("_x")[2])
        return finished is not None and finished[0] == self._settings(scale)

    def _settings(self, scale: int) -> str:
        options = self._options
        metres = options.metres_per_pixel or (DEFAULT_METRES if options.zoom is None else None)
        return json.dumps([self._source.provider, metres, options.zoom, options.side, scale, list(options.bands)])

    def _stem(self, row: Row, scale: int) -> Path:
        return _stem(self._collection.root, row, scale)

    def _existing(self, row: Row, scale: int) -> Path | None:
        return _existing(self._collection.root, row, scale)

    def _remove(self, row: Row, scale: int) -> None:
        """Removes an image that this command made before; one from elsewhere stays."""
        existing = self._existing(row, scale)
        if existing is not None and self._cache.finished(self._name(existing)) is not None:
            existing.unlink()

    def _name(self, path: Path) -> str:
        return path.relative_to(self._collection.root).as_posix()


def _stem(root: Path, row: Row, scale: int) -> Path:
    folder = "images" if scale == 1 else f"images_x{scale}"
    return root / folder / f"{row.key}.any"


def _existing(root: Path, row: Row, scale: int) -> Path | None:
    paths = (_stem(root, row, scale).with_suffix(suffix) for suffix in _SUFFIXES)
    return next((path for path in paths if path.exists()), None)


def print_tile_totals(root: Path, totals: TileTotals) -> None:
    """Prints what a run has done, and which places have no image for which reason."""
    print(f"{root}: {totals.made:,} images made, {totals.kept:,} were there")
    if totals.rejected:
        reasons = ", ".join(
            f"{name} {count:,}" for name, count in Counter(r.reason for r in totals.rejected).most_common()
        )
        print(f"{len(totals.rejected):,} without an image: {reasons}; see {root / REJECTED_NAME}")
