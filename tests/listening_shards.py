"""Small shard sets that can be looked at and listened to, and towers that were never trained."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 22_050
CLIP_SECONDS = 2.0
FIRST_KEY = 2000
SAMPLES_PER_SHARD = 7
IMAGE_SIDE = 192
SCENES = {"meadow": (112, 148, 76), "harbour": (58, 112, 142), "town": (150, 128, 112), "forest": (48, 88, 60)}
"""Kinds of place and their colours."""
CREATORS = ("A. Listener", "Field Ear", "M. Okafor", "quiet_hours")
LICENCES = (
    "https://creativecommons.org/licenses/by/4.0/",
    "https://creativecommons.org/publicdomain/zero/1.0/",
    "https://creativecommons.org/licenses/by-nc/3.0/",
)


def write_listening_shards(folder: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """A valid shard set with coloured images, MP3 clips, places, titles, creators, licences and labels.

    Args:
        folder: made by this function.
        counts: pairs of each split; keys count on from `FIRST_KEY`.
        seed: fixes all bytes.
    """
    from tiny_shards import write_shard_set

    from shards.decoding.imagery import encode_jpeg
    from shards.schema import Sample

    generator = np.random.default_rng(seed)

    def pair(number: int) -> Sample:
        scene = list(SCENES)[number % len(SCENES)]
        sound = generator.integers(0, 90, (128, int(generator.integers(128, 300))), dtype=np.uint8)
        sound[: 20 + 25 * (number % len(SCENES))] += 120
        metadata = _metadata(number, scene, generator)
        jpeg, clip = encode_jpeg(_image(scene, generator)), _clip(number, generator)
        return Sample(str(FIRST_KEY + number), jpeg, np.asfortranarray(sound), metadata, clip)

    return write_shard_set(
        folder,
        counts,
        pair,
        samples_per_shard=SAMPLES_PER_SHARD,
        split={"split_by": "key", "split_seed": seed},
        seconds_of_sound=CLIP_SECONDS * sum(counts.values()),
        with_previews=True,
    )


def write_tiny_towers(folder: Path, seed: int = 0) -> Path:
    """A model folder whose towers were never trained and take a fraction of a second a batch."""
    import torch

    from pretrain.model import TwoTower
    from pretrain.model_config import TwoTowerConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        TwoTower(TwoTowerConfig(embedding_dim=16, image_size=32, sound_pooling=4)).save_pretrained(folder)
    return folder


def _metadata(number: int, scene: str, generator: np.random.Generator) -> dict[str, str | float]:
    return {
        "longitude": round(float(generator.uniform(-170, 170)), 4),
        "latitude": round(float(generator.uniform(-50, 70)), 4),
        "title": f"{scene.capitalize()} no. {number}",
        "creator": CREATORS[number % len(CREATORS)],
        "licence": LICENCES[number % len(LICENCES)],
        "label": scene,
        "seconds": CLIP_SECONDS,
    }


def _image(scene: str, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Fields of the scene's colour, with a road across."""
    import cv2

    image = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), SCENES[scene], np.int16)
    for _ in range(14):
        corner, size = generator.integers(0, IMAGE_SIDE - 20, 2), generator.integers(16, 70, 2)
        part = tuple(slice(int(start), int(start + length)) for start, length in zip(corner, size, strict=True))
        image[part] += generator.integers(-28, 28, 3, dtype=np.int16)
    image += generator.integers(-9, 9, image.shape, dtype=np.int16)
    pixels = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))
    ends = [(0, int(generator.integers(IMAGE_SIDE))), (IMAGE_SIDE, int(generator.integers(IMAGE_SIDE)))]
    cv2.line(pixels, ends[0], ends[1], (196, 190, 176), 5, cv2.LINE_AA)
    return pixels


def _clip(number: int, generator: np.random.Generator) -> bytes:
    """A soft tone of the pair's own pitch over a little noise, as an MP3."""
    import soundfile

    times = np.arange(int(CLIP_SECONDS * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 220 * 2 ** (number % 24 / 12) * times) * np.sin(np.pi * times / CLIP_SECONDS)
    clip = io.BytesIO()
    soundfile.write(clip, tone + 0.02 * generator.normal(size=len(times)), SAMPLE_RATE_HZ, format="MP3")
    return clip.getvalue()
