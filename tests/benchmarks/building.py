"""Building shards from MP3 recordings of 10 s and of a minute, previews included, by one worker: times real time."""

from __future__ import annotations

import csv
import itertools
import os
from pathlib import Path

from benchmarks.checkouts import Checkout, checkouts, compared, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Row, Value
from benchmarks.sound_of_noise import write_sound

SUITE = "build"
LENGTHS = {10: 180, 60: 60}
"""Recordings of each length in seconds."""
CASE = "MP3 of {} s, one worker"
RATE = "times_real_time"

TARGETS = (
    compared("files of 10 s", SUITE, CASE.format(10), RATE, 3, at_most=False),
    compared("files of a minute", SUITE, CASE.format(60), RATE, 1.5, at_most=False),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Each corpus by each checkout, twice; the start of the command is counted with it."""
    numbers = itertools.count()
    rows = []
    for seconds, count in LENGTHS.items():
        number = 8 if place.quick else count
        root = write_recordings(place, place.folder / f"recordings-{seconds}", seconds, number)

        def built(checkout: Checkout, root: Path = root, sound: int = seconds * number) -> dict[str, Value]:
            out = place.folder / f"built-{next(numbers)}"
            words = ["build", "--source", "recordings", "--root", root, "--out", out, "--workers", 1]
            return {"seconds_a_second_of_sound": checkout.run("shards/run.py", *words)[0] / sound}

        for row in in_turn(SUITE, CASE.format(seconds), checkouts(place), built, 1 if place.quick else 2):
            speed = 1 / float(row.figures.pop("seconds_a_second_of_sound") or 1)
            rows.append(Row(SUITE, row.case, {RATE: speed}))
    return rows


def write_recordings(place: Workplace, root: Path, seconds: int, count: int) -> Path:
    """Recordings whose images are tiles of the corpus."""
    for name in ("images", "audio"):
        (root / name).mkdir(parents=True)
    write_sound(root / "one.mp3", seconds, "MPEG_LAYER_III")
    tiles = sorted((place.corpus.root / "images").iterdir())
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("key", "longitude", "latitude"))
        for number in range(count):
            os.link(tiles[number % len(tiles)], root / "images" / f"{number}.jpg")
            os.link(root / "one.mp3", root / "audio" / f"{number}.mp3")
            table.writerow((number, number % 360 - 180, 10))
    return root
