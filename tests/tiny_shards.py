"""Small shard sets of random pairs, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from shards.building.writing import ShardWriter, tar_name
from shards.manifest import Manifest, ShardEntry
from shards.schema import MEL_BANDS, Sample, SpectrogramSettings


def write_tiny_shards(
    folder: Path, counts: dict[str, int], *, samples_per_shard: int = 7, image_side: int = 64, seed: int = 0
) -> Path:
    """A shard set of random pairs whose image and sound share a colour and a pitch, so that something can be learned.

    Args:
        folder: made by this function.
        counts: pairs of each split.
        samples_per_shard: the last shard of a split holds what is left.
        image_side: of the stored images, in pixels.
        seed: fixes all bytes.
    """
    generator = np.random.default_rng(seed)

    def pair(number: int) -> Sample:
        trait = generator.uniform()
        image = generator.integers(0, 90, (image_side, image_side, 3)) + np.array([160 * trait, 60, 0])
        sound = generator.integers(0, 90, (128, int(generator.integers(128, 300))))
        sound[: int(128 * trait)] += 120
        jpeg = cv2.imencode(".jpg", image.astype(np.uint8)[..., ::-1])[1].tobytes()
        key = 1000 + number
        place = {"longitude": float(key % 360 - 180), "latitude": 40.0, "title": f"place {key}"}
        return Sample(str(key), jpeg, np.asfortranarray(sound.astype(np.uint8)), place)

    return write_shard_set(folder, counts, pair, samples_per_shard=samples_per_shard, split={"split_by": "key"})


def write_shard_set(
    folder: Path,
    counts: dict[str, int],
    pair: Callable[[int], Sample],
    *,
    samples_per_shard: int,
    split: dict[str, Any],
    seconds_of_sound: float = 100.0,
    with_previews: bool = False,
    mel_bands: int = MEL_BANDS,
) -> Path:
    """A shard set of made-up pairs, with its manifest.

    Args:
        folder: made by this function.
        counts: pairs of each split.
        pair: the pair of a number; numbers count from 0 over all splits.
        samples_per_shard: the last shard of a split holds what is left.
        split: of the manifest.
        seconds_of_sound: of the manifest.
        with_previews: whether pairs have a clip to listen to.
        mel_bands: of the spectrograms.
    """
    folder.mkdir(parents=True)
    entries: list[ShardEntry] = []
    number = 0
    for name_of_split, count in counts.items():
        for shard, start in enumerate(range(0, count, samples_per_shard)):
            name, size = tar_name(name_of_split, shard), min(samples_per_shard, count - start)
            with ShardWriter(folder, name, with_previews=with_previews, mel_bands=mel_bands) as writer:
                for _ in range(size):
                    writer.add(pair(number))
                    number += 1
                entries.append(writer.finish())
    statistics = {"spectrogram_mean": 90.0, "spectrogram_std": 60.0, "seconds_of_sound": seconds_of_sound}
    statistics |= dict.fromkeys(("silent", "repeated_to_length", "shortened"), 0)
    settings = SpectrogramSettings(mel_bands=mel_bands)
    Manifest("recordings", split, settings, statistics, tuple(entries), rejected=()).save(folder)
    return folder
