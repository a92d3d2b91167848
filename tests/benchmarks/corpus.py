"""What the loader and loop suites read: tiles and spectrograms in SoundingEarth's layout, and our shards of them.

The pictures are the demo world's, painted at 1024 × 1024 pixels, or mosaics of given photographs; as JPEGs both are
about as large as real tiles of that size. A few hundred keys share a few dozen contents: what is measured is reading
and decoding, which the page cache serves for us and for the rival alike.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.demo_world.factors import Place, generate_places
from shards.demo_world.painting import paint_place
from shards.demo_world.sounding import record_place
from shards.schema import SpectrogramSettings

REPOSITORY = Path(__file__).resolve().parents[2]

TILE_PIXELS = 1024
JPEG_QUALITY = 90
RECORDING_FRAMES = 9972
"""Frames of the corpus's mean recording, 3,500 hours / 50,545 pairs = 249 s, at a hop of 25 ms."""

GENERATED_SECONDS = 30.0
SAMPLE_RATE_HZ = 16_000
TRAINING_DIGITS, VALIDATION_DIGIT = "0134689", "7"  # of the published split by key


@dataclass(frozen=True)
class CorpusSize:
    """How much to write.

    Attributes:
        contents: pairs that differ.
        training: training pairs, whose contents repeat.
        validation: validation pairs.
        frames: of every spectrogram.
    """

    contents: int = 48
    training: int = 320
    validation: int = 16
    frames: int = RECORDING_FRAMES


@dataclass(frozen=True)
class Corpus:
    """Where the pairs lie, as files and as our shards.

    Attributes:
        root: images/<key>.jpg and spectrograms/<key>.jpg.
        shards: our shards of the same pairs.
        keys: of the training pairs.
    """

    root: Path
    shards: Path
    keys: list[str]


class Workplace:
    """A folder for what the suites write, and the corpus that they share, made when first asked for.

    Args:
        folder: an empty one.
        quick: a smoke run, whose figures mean nothing.
        photographs: a folder of JPEGs to make the tiles from, None for generated ones.
        against: a checkout of another commit, which the suites that can compare with.
    """

    def __init__(
        self, folder: Path, *, quick: bool, photographs: Path | None = None, against: Path | None = None
    ) -> None:
        self.folder = folder
        self.quick = quick
        self.photographs = photographs
        self.against = against

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, written and built."""
        size = CorpusSize(contents=3, training=24, validation=4, frames=1000) if self.quick else CorpusSize()
        keys = write_corpus(self.folder / "corpus", size, self.photographs)
        return Corpus(self.folder / "corpus", build_shards(self.folder / "corpus", self.folder / "shards"), keys)

    @property
    def tiles(self) -> str:
        """What the pictures are, in words."""
        pixels = f"{TILE_PIXELS} × {TILE_PIXELS} px, JPEG quality {JPEG_QUALITY}, chroma halved"
        return f"{'mosaics of photographs' if self.photographs else 'generated'}, {pixels}"


def write_corpus(root: Path, size: CorpusSize, photographs: Path | None = None, workers: int = 2) -> list[str]:
    """Writes metadata.csv, images/<key>.jpg and spectrograms/<key>.jpg; the keys of the training pairs."""
    for name in ("contents", "images", "spectrograms"):
        (root / name).mkdir(parents=True)
    places = list(generate_places(size.contents, 0))
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        list(pool.map(partial(_write_content, root, size.frames, photographs), range(size.contents), places))
    training = [f"{1000 + number // 7}{TRAINING_DIGITS[number % 7]}" for number in range(size.training)]
    validation = [f"{1000 + number}{VALIDATION_DIGIT}" for number in range(size.validation)]
    for number, key in enumerate(training + validation):
        content = root / "contents" / str(number % size.contents)
        os.link(f"{content}-image.jpg", root / "images" / f"{key}.jpg")
        os.link(f"{content}-spectrogram.jpg", root / "spectrograms" / f"{key}.jpg")
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("key", "longitude", "latitude"))
        table.writerows((key, number % 360 - 180, 10) for number, key in enumerate(training + validation))
    return training


def _write_content(root: Path, frames: int, photographs: Path | None, number: int, place: Place) -> None:
    generator = np.random.default_rng(number)
    tile = _mosaic(photographs, generator) if photographs else paint_place(place, TILE_PIXELS, generator)[0]
    spectrogram = _spectrogram(place, frames, generator)
    for name, pixels in (("image", tile), ("spectrogram", spectrogram)):
        Image.fromarray(pixels).save(root / "contents" / f"{number}-{name}.jpg", quality=JPEG_QUALITY)


def _mosaic(photographs: Path, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Photographs side by side at their own resolution: enlarged ones would decode too easily."""
    paths = sorted(photographs.glob("*.jpg"))
    side = min(Image.open(paths[0]).size)
    across = -(-TILE_PIXELS // side)
    chosen = iter(generator.choice(len(paths), across * across))
    rows = [np.hstack([_photograph(paths[next(chosen)], side) for _ in range(across)]) for _ in range(across)]
    return np.ascontiguousarray(np.vstack(rows)[:TILE_PIXELS, :TILE_PIXELS])


def _photograph(path: Path, side: int) -> NDArray[np.uint8]:
    picture = Image.open(path).convert("RGB")
    return np.asarray(picture.resize((side, side)) if min(picture.size) < side else picture)[:side, :side]


def _spectrogram(place: Place, frames: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A recording of the place, repeated to the length wanted."""
    sound = record_place(
        place,
        clip_seconds=GENERATED_SECONDS,
        sample_rate_hz=SAMPLE_RATE_HZ,
        num_channels=1,
        generator=generator,
    )
    stream = SpectrogramStream(SpectrogramSettings())
    parts = [stream.push(np.asarray(sound, dtype=np.float32).reshape(-1)), stream.finish()]
    return np.ascontiguousarray(np.resize(np.concatenate(parts, axis=1).T, (frames, 128)).T)


def build_shards(root: Path, out: Path) -> Path:
    """Our shards of that corpus, by the command that a user gives."""
    command = [sys.executable, str(REPOSITORY / "shards" / "run.py"), "build", "--source", "soundingearth"]
    subprocess.run([*command, "--root", str(root), "--out", str(out)], check=True, capture_output=True, text=True)
    return out
