"""Fixtures shared by all tests: real data where it is there, and what to do where something is missing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# One thread a process, read when torch is loaded: the cores are shared by several processes of tests, where waiting
# threads of OpenMP would spin, and what tests compute themselves has the bits of what their commands compute.
os.environ["OMP_NUM_THREADS"] = "1"

# Examples of hypothesis take their time on a busy machine; how long is no matter of right and wrong.
hypothesis.settings.register_profile("earshot", deadline=None)
hypothesis.settings.load_profile("earshot")

# A shell starts what runs in its background with Ctrl-C ignored, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_DATA = REPOSITORY.parent / "shared" / "data"


def missing(what: str, reason: str) -> None:
    """Skips the test for want of `what`, or fails it where EARSHOT_REQUIRE (a comma list) names it."""
    if what in os.environ.get("EARSHOT_REQUIRE", "").split(","):
        pytest.fail(f"{reason}, and EARSHOT_REQUIRE names {what!r}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and sounds; its README describes it."""
    if not REAL_DATA.is_dir():
        missing("data", "the real images and sounds are not at ../shared/data")
    return REAL_DATA


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
    import cv2
    import numpy as np

    from shards.building.writing import ShardWriter, tar_name
    from shards.manifest import Manifest, ShardEntry
    from shards.schema import Sample, SpectrogramSettings

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


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training, 16 validation and 24 test pairs in shards of 7."""
    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards", {"train": 48, "val": 16, "test": 24})
