"""Small shard sets of random pairs, for tests and benchmarks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from shards.building.writing import ShardWriter, tar_name
from shards.manifest import Manifest, ShardEntry
from shards.schema import Sample, SpectrogramSettings


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
    folder.mkdir(parents=True)
    entries, number = [], 1000
    for split, count in counts.items():
        for shard, start in enumerate(range(0, count, samples_per_shard)):
            name = tar_name(split, shard)
            size = min(samples_per_shard, count - start)
            with ShardWriter(folder, name, with_previews=False) as writer:
                for _ in range(size):
                    trait = generator.uniform()
                    image = generator.integers(0, 90, (image_side, image_side, 3)) + np.array([160 * trait, 60, 0])
                    sound = generator.integers(0, 90, (128, int(generator.integers(128, 300))))
                    sound[: int(128 * trait)] += 120
                    jpeg = cv2.imencode(".jpg", image.astype(np.uint8)[..., ::-1])[1].tobytes()
                    place = {"longitude": float(number % 360 - 180), "latitude": 40.0, "title": f"place {number}"}
                    writer.add(Sample(str(number), jpeg, np.asfortranarray(sound.astype(np.uint8)), place))
                    number += 1
                checksum = writer.finish()
            entries.append(ShardEntry(name, split, size, checksum.bytes, checksum.sha256))
    statistics = {"spectrogram_mean": 90.0, "spectrogram_std": 60.0, "seconds_of_sound": 100.0}
    statistics |= dict.fromkeys(("silent", "repeated_to_length", "shortened"), 0)
    manifest = Manifest(
        "recordings", {"split_by": "key"}, SpectrogramSettings(), statistics, tuple(entries), rejected=()
    )
    manifest.save(folder)
    return folder
