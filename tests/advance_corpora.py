"""Made corpora for ADVANCE's rules: real sounds of chosen lengths, images that show where they were cut, and a map."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import soundfile

RATE_HZ = 2_000
SIDE = 64
SLOPE = 2
"""Red grows by this from column to column, and green from row to row."""

TAGS = {
    "beach": {"natural": "beach"},
    "lake": {"natural": "water", "water": "lake"},
    "forest": {"landuse": "forest"},
    "harbour": {"leisure": "marina"},
    "residential": {"landuse": "residential"},
}
"""Of the area in which the places of a class lie: one degree of longitude for each, from 0 on."""


@dataclass(frozen=True)
class Row:
    """A row of a corpus.

    Attributes:
        key: of the row.
        region: class in whose area it lies; "" for none.
        seconds: length of its sound.
        number: of its place within the area; rows of one number have one location.
        suffix: of its sound file.
        side: of its image in pixels.
    """

    key: str
    region: str
    seconds: float
    number: int
    suffix: str = ".wav"
    side: int = SIDE

    @property
    def place(self) -> tuple[float, float]:
        """Longitude and latitude in degrees."""
        column = list(TAGS).index(self.region) if self.region else 50
        return round(column + 0.1 + 0.005 * (self.number % 100), 5), round(0.3 + 0.01 * (self.number // 100), 5)


def write_corpus(root: Path, rows: Sequence[Row]) -> Path:
    """metadata.csv, audio/ and images/ as `--source recordings` reads them."""
    generator = np.random.default_rng(0)
    for folder in ("audio", "images"):
        (root / folder).mkdir(parents=True)
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["key", "mp3name", "longitude", "latitude", "creator", "licence"])
        for row in rows:
            name = f"{row.key}{row.suffix}"
            table.writerow([row.key, name, *row.place, "Ann", "by"])
            sound = 0.1 * generator.standard_normal(round(row.seconds * RATE_HZ))
            soundfile.write(root / "audio" / name, sound.clip(-0.5, 0.5), RATE_HZ)
            cv2.imwrite(str(root / "images" / f"{row.key}.png"), graded_image(row.side))
    return root


def graded_image(side: int) -> np.ndarray:
    """(side, side, 3) blue, green, red: red by the column, green by the row, from the middle on."""
    steps = SLOPE * (np.arange(side) - (side - 1) / 2) + 128
    image = np.full((side, side, 3), 90.0)
    image[..., 2], image[..., 1] = steps[None, :], steps[:, None]
    return image.clip(0, 255).astype(np.uint8)


def offset_of(path: Path) -> tuple[int, int]:
    """By how many pixels a tile was cut to the right of the middle and below it."""
    image = cv2.imread(str(path)).astype(float)
    return round((image[..., 2].mean() - 128) / SLOPE), round((image[..., 1].mean() - 128) / SLOPE)


def write_map(path: Path) -> Path:
    """An OpenStreetMap extract with an area for each class."""
    features = []
    for column, tags in enumerate(TAGS.values()):
        ring = [[column, 0], [column + 0.9, 0], [column + 0.9, 1], [column, 1], [column, 0]]
        features.append({"type": "Feature", "properties": tags, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path
