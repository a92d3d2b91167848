"""The demo world as an audiovisual scene data set, to try the pipeline without any data."""

from __future__ import annotations

from pathlib import Path

from downstream.audiovisual.benchmark import AudiovisualBenchmark, FoundPairs, ScenePair
from shards.errors import UserError
from shards.sources.metadata_table import read_table

COLUMNS = ("key", "mp3name", "longitude", "latitude", "scene")


def find_pairs(root: Path) -> FoundPairs:
    """The rows of `root/metadata.csv` with their files in `images/` and `audio/`; a location is a pair of coordinates.

    Raises:
        UserError: the table or one of the required columns is missing.
    """
    remedy = f"generate the demo world with: python shards/run.py build --source demo --root {root} --out SHARDS"
    try:
        table = read_table(root)
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from error
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent:
        raise UserError(f"{table.path} has no column {absent[0]!r}; {remedy}")
    rows = sorted((row for _, row in table.rows), key=lambda row: row["key"])
    classes = sorted({row["scene"] for row in rows})
    pairs, unpaired = [], []
    for row in rows:
        image, sound = root / "images" / f"{row['key']}.jpg", root / "audio" / row["mp3name"]
        lost = [path.name for path in (image, sound) if not path.is_file()]
        if lost:
            unpaired.append(f"of {row['key']} there is no {' and no '.join(lost)}")
            continue
        location = f"{float(row['longitude']):.5f},{float(row['latitude']):.5f}"
        pairs.append(ScenePair(row["key"], image, sound, classes.index(row["scene"]), location))
    return FoundPairs(classes, pairs, unpaired)


DEMO_AUDIOVISUAL = AudiovisualBenchmark(
    name="demo-audiovisual", title="the demo world's scenes, seen and heard", find=find_pairs, whole_image_size=128
)
