"""A small corpus and the shard set built from it, shared by the tests of whole commands on shards."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from shards.building.build import build
from shards.building.planning import BuildOptions

NUM_ROWS = 44
COLUMNS = ("key", "longitude", "latitude", "mp3name", "scene", "recording")


def make_corpus(root: Path) -> Path:
    """44 rows: 40 small pairs, two of them at one place, and 4 that can't be used, each for a reason of its own."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "audio").mkdir()
    rows = []
    for key in range(100, 100 + NUM_ROWS):
        pixels = cv2.blur(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8), (7, 7))
        cv2.imwrite(str(root / "images" / f"{key}.jpg"), pixels)
        soundfile.write(root / "audio" / f"{key}.flac", generator.normal(0, 0.05, 11_025 * 4), 11_025)
        place = 100 if key == 102 else key
        rows.append([key, place - 100, 10, f"{key}.flac", "town", f"r{key // 3}"])
    (root / "images" / "140.jpg").unlink()
    (root / "audio" / "141.flac").write_text("not found")
    (root / "images" / "142.jpg").write_bytes((root / "images" / "143.jpg").read_bytes()[:400])
    rows[43][2] = 91
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return root


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of `make_corpus`; only to be read."""
    return make_corpus(tmp_path_factory.mktemp("small_corpus") / "root")


@pytest.fixture(scope="session")
def small_shards(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That corpus in nine shards of at most five pairs, built by one worker; only to be read."""
    out = tmp_path_factory.mktemp("small_shards") / "set"
    build(BuildOptions("recordings", out, small_corpus, workers=1, max_rejected=0.1, samples_per_shard=5))
    return out
