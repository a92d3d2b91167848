"""The options of `collect advance`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shards.errors import UserError


@dataclass(frozen=True)
class AdvanceOptions:
    """Builds labelled scenes from geotagged recordings and images by the rules of ADVANCE (Hu et al., ECCV 2020).

    The output has ADVANCE's layout, for downstream/run.py advance. An interrupted command resumes when rerun.
    """

    root: Path
    """Folder of the corpus, as for build --source recordings: metadata.csv, audio/ and images/."""

    out: Path
    """Folder of the labelled set."""

    osm: Path | None = None
    """Extract of OpenStreetMap for the labels: GeoJSON, a GeoJSON feature on each line, or OSM XML."""

    overpass: str | None = None
    """Address of an Overpass interpreter for the labels, instead of an extract. It is asked once for each place."""

    overpass_seconds: float = 1.0
    """Least time between two requests to it."""

    labels: Path | None = None
    """Table of tags and classes (YAML), by default Earshot's own (shards/collecting/advance/labels.yaml)."""

    corrections: Path | None = None
    """Table with the columns key and label, which wins over OpenStreetMap; an empty label takes the row out."""

    table: Path | None = None
    """File of the corpus's table, by default metadata.csv in --root."""

    seed: int = 0
    """Seed of the clips."""

    tile_pixels: int = 512
    """Side of the tiles; smaller images are used whole."""

    shift_share: float = 0.25
    """How far the four shifted tiles of rare classes lie from the place, as a share of the side; the paper says only
    "a small offset"."""

    jpeg_quality: int = 95
    """Quality of the tiles, 1 to 100."""

    workers: int = 4
    """Pairs that are read at once; the result does not depend on it."""

    follow_links: bool = False
    """Use files also where symbolic links lead out of --root."""

    def check(self) -> None:
        """Checks what needs no file of the corpus.

        Raises:
            UserError: a value is out of range, or nothing is given to label by.
        """
        if self.osm is not None and self.overpass is not None:
            raise UserError("--osm and --overpass can't be given together; give one source of labels")
        if self.osm is None and self.overpass is None and self.corrections is None:
            raise UserError(
                "nothing to label by; give --osm with an extract, --overpass with the address of a service, or "
                "--corrections with a table of keys and labels"
            )
        for path in (self.osm, self.labels):
            if path is not None and not path.is_file():
                raise UserError(f"{'--osm' if path is self.osm else '--labels'} {path}: no such file")
        limits: dict[str, tuple[float, float, float]] = {
            "tile-pixels": (self.tile_pixels, 32, 8192),
            "shift-share": (self.shift_share, 0.01, 1),
            "jpeg-quality": (self.jpeg_quality, 1, 100),
            "overpass-seconds": (self.overpass_seconds, 0, 3600),
            "workers": (self.workers, 1, 256),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise UserError(f"--{name} must be from {low:g} to {high:g}, got {value:g}")
