"""Shards like those of SoundingEarth, painted JPEGs of 512 pixels and spectrograms, to be read at full speed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gpu.items import Place

CONTENTS = 24
SIDE, FRAMES, JPEG_QUALITY = 512, 600, 90
PAIRS, VALIDATION_PAIRS, SAMPLES_PER_SHARD = 4096, 64, 512


def jpeg_shards(place: Place) -> Path:
    """A shard set in the run's folder, written when first asked for.

    The images differ in a few dozen contents only, which the page cache and the decoder treat alike; a spectrogram is
    shorter than a real recording's, of which one crop is read.
    """
    folder = place.folder / "jpeg-shards"
    if not folder.exists():
        _write(folder.with_name("unfinished-shards"), place).rename(folder)
    return folder


def _write(folder: Path, place: Place) -> Path:
    import cv2
    from tiny_shards import write_shard_set

    from shards.demo_world.factors import generate_places
    from shards.demo_world.painting import paint_place
    from shards.schema import Sample

    generator = np.random.default_rng(0)
    contents, pairs, side = (CONTENTS, PAIRS, SIDE) if place.is_gpu else (2, 96, 64)
    images = [paint_place(painted, side, generator)[0] for painted in generate_places(contents, 0)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    jpegs = [cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)[1].tobytes() for image in images]
    sounds = [np.asfortranarray(generator.integers(0, 256, (128, FRAMES), dtype=np.uint8)) for _ in range(contents)]

    def pair(number: int) -> Sample:
        where = {"longitude": float(number % 360 - 180), "latitude": 10.0, "title": f"pair {number}"}
        return Sample(str(10_000 + number), jpegs[number % contents], sounds[number % contents], where)

    counts = {"train": pairs, "val": VALIDATION_PAIRS}
    return write_shard_set(folder, counts, pair, samples_per_shard=SAMPLES_PER_SHARD, split={"split_by": "key"})
