"""Parts of long files are the samples that decoding the whole file gives there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sound_writers import sndfile_bytes, write_with_ffmpeg

from shards.decoding.sound_files import opened
from shards.decoding.sound_parts import part_blocks, survey

RATE_HZ = 44_100


def noise(seconds: float, channels: int = 2) -> np.ndarray:
    samples = 0.2 * np.random.default_rng(0).standard_normal((round(seconds * RATE_HZ), channels))
    samples[RATE_HZ * 5 : RATE_HZ * 9] *= 0.01  # so that frames of variable bit rate differ in size
    return samples.astype(np.float32)


@pytest.mark.parametrize(
    ("container", "subtype", "options"),
    [
        ("WAV", None, {}),
        ("WAV", "IMA_ADPCM", {}),
        ("AIFF", None, {}),
        ("CAF", None, {}),
        ("W64", None, {}),
        ("FLAC", None, {}),
        ("OGG", None, {}),
        ("MP3", None, {"bitrate_mode": "CONSTANT"}),
        ("MP3", None, {"bitrate_mode": "VARIABLE"}),
    ],
)
def test_parts_equal_the_whole(tmp_path: Path, container: str, subtype: str | None, options: dict[str, str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(sndfile_bytes(noise(16.0), RATE_HZ, container, subtype, **options))
    check_parts(path)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [("a.m4a", "alac", "ipod"), ("a.wma", "wmav2", "asf"), ("a.mkv", "flac", "matroska")],
)
def test_parts_equal_the_whole_in_containers_of_ffmpeg(tmp_path: Path, name: str, codec: str, container: str) -> None:
    check_parts(write_with_ffmpeg(tmp_path / name, noise(16.0, 1)[:, 0], RATE_HZ, codec, container))


@pytest.mark.parametrize("container", ["OGG", "FLAC", "MP3"])
def test_parts_equal_the_whole_in_joined_files(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(sndfile_bytes(noise(9.0), RATE_HZ, container) + sndfile_bytes(noise(7.0, 1), RATE_HZ, container)
                     if container != "OGG" else sndfile_bytes(noise(8.0), RATE_HZ, container) * 2)  # fmt: skip
    check_parts(path)


def check_parts(path: Path) -> None:
    with opened(path) as sound:
        whole = np.concatenate(list(sound.even_blocks()), axis=1)
    timeline = survey(path)
    assert timeline.num_samples == whole.shape[1]
    end = timeline.num_samples
    # Beside each other, at both ends, of one sample, and far apart.
    parts = [(0, 100), (5_000, 3_000), (8_000, 1), (9_000, 20_000), (400_000, 30_000), (end - 5_000, 5_000)]
    found: dict[int, list[np.ndarray]] = {}
    for number, block in part_blocks(path, timeline, parts):
        found.setdefault(number, []).append(block)
    for number, (first, length) in enumerate(parts):
        assert np.array_equal(np.concatenate(found[number], axis=1), whole[:, first : first + length]), number
