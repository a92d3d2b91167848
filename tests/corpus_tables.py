"""Tables of the size and shape of SoundingEarth's metadata.csv, with its column names and plausible values."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from shards.demo_world.corpus import COLUMNS

SOUNDINGEARTH_COLUMNS = COLUMNS[: COLUMNS.index("scene")]
NUM_ROWS = 50_545
"""Pairs of SoundingEarth."""


def write_corpus_table(path: Path, *, num_rows: int = NUM_ROWS, low_rates: bool = True, sources: bool = False) -> Path:
    """Writes rows whose places crowd around cities all over the world.

    Args:
        path: the file.
        num_rows: rows to write.
        low_rates: whether some recordings are below 16 kHz or of unknown rate.
        sources: whether there is a column `source`, as in GeoSound's table.
    """
    rng = np.random.default_rng(42)
    cities = np.column_stack([rng.uniform(-178, 178, 6000), np.degrees(np.arcsin(rng.uniform(-0.7, 0.95, 6000)))])
    popularity = rng.pareto(1.1, 6000) + 0.05
    places = cities[rng.choice(6000, num_rows, p=popularity / popularity.sum())] + rng.normal(0, 0.05, (num_rows, 2))
    rates = rng.choice([44_100, 48_000, 22_050, 16_000], num_rows, p=[0.75, 0.2, 0.03, 0.02]).astype(object)
    if low_rates:
        rates[rng.choice(num_rows, 180, replace=False)] = np.array([8000, 11_025, ""] * 60, dtype=object)
    kinds = rng.choice(["iNat", "yfcc", "aporee", "freesound"], num_rows, p=[0.37, 0.31, 0.16, 0.16])
    keys = rng.permutation(60_000)[:num_rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*SOUNDINGEARTH_COLUMNS, *(["source"] if sources else [])])
        writer.writeheader()
        for number, (key, (longitude, latitude), rate, kind) in enumerate(zip(keys, places, rates, kinds, strict=True)):
            writer.writerow(
                {
                    "long_key": f"aporee_{key}_{key + 777}",
                    "key": key,
                    "longitude": round(float(np.clip(longitude, -180, 180)), 6),
                    "latitude": round(float(latitude), 6),
                    "altitude": number % 300,
                    "description": 'birds, "near" the river',
                    "date_recorded": "2015-06-01",
                    "date_uploaded": "2015-06-02",
                    "creator": f"user {number % 900}",
                    "licenseurl": "http://creativecommons.org/licenses/by/3.0/",
                    "title": f"place {number}",
                    "mp3name": f"sound{key}.mp3",
                    "mp3mb": 2.5,
                    "mp3seconds": 120 + number % 60,
                    "mp3channels": 2,
                    "mp3bitrate": 128,
                    "mp3samplerate": rate,
                    "mp3file": f"sound{key}.mp3",
                }
                | ({"source": kind} if sources else {})
            )
    return path
