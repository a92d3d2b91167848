"""Images that are decoded once: the same pixels, whatever was kept, on any disk."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_shards import write_tiny_shards

from shards.decoding import jpeg_parts
from shards.decoding.jpeg_parts import Box
from shards.errors import UserError
from shards.streaming.decoded_images import DecodedImages
from shards.streaming.reading import ShardSet, StoredSample

SIDE = 48


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("kept") / "shards", {"train": 9}, image_side=SIDE)


def opened(shards: Path, folder: Path, least_free: int = 0) -> ShardSet:
    shard_set = ShardSet.open(shards)
    folder.mkdir(exist_ok=True)
    shard_set.decoded = DecodedImages(folder, least_free)
    return shard_set


def kept_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def not_to_be_decoded(_jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    raise AssertionError("decoded again")


@given(data=st.data())
def test_a_part_is_that_of_the_decoded_image(
    data: st.DataObject, shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    top, left = (data.draw(st.integers(0, SIDE - 1)) for _ in range(2))
    height, width = (data.draw(st.integers(1, SIDE - start)) for start in (top, left))
    plain = ShardSet.open(shards).sample("train", 3).image()[top : top + height, left : left + width]
    shard_set = opened(shards, tmp_path_factory.getbasetemp() / "parts")
    for _ in ("decoded here, unless an earlier example did", "kept"):
        part = shard_set.sample("train", 3).image_part(lambda *_shape: Box(top, left, height, width))
        np.testing.assert_array_equal(part, plain)
        assert part.flags.writeable


def test_an_image_is_decoded_once(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard_set = opened(shards, tmp_path / "kept")
    images = [sample.image() for sample in shard_set.samples("train")]
    assert len(kept_files(tmp_path / "kept")) == 9
    monkeypatch.setattr(jpeg_parts, "_decode", not_to_be_decoded)
    again = opened(shards, tmp_path / "kept")
    for sample, image, plain in zip(again.samples("train"), images, images, strict=True):
        np.testing.assert_array_equal(sample.image(), image)
        part = sample.image_part(lambda height, width: Box(1, 2, height - 1, width - 2))
        np.testing.assert_array_equal(part, plain[1:, 2:])


def test_a_disk_without_room_takes_none_and_the_part_alone_is_decoded(shards: Path, tmp_path: Path) -> None:
    shard_set = opened(shards, tmp_path / "kept", least_free=2**62)
    assert shard_set.decoded
    assert shard_set.decoded.room_bytes == 0
    sample = shard_set.sample("train", 0)
    np.testing.assert_array_equal(sample.image(), ShardSet.open(shards).sample("train", 0).image())
    asked: list[tuple[int, int]] = []

    def choose(height: int, width: int) -> Box:
        asked.append((height, width))
        return Box(0, 0, 5, 4)

    assert sample.image_part(choose).shape == (5, 4, 3)
    assert asked == [(SIDE, SIDE)]
    assert kept_files(tmp_path / "kept") == []


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="cut short"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(lambda path: shutil.rmtree(path.parents[1]), id="with its folder"),
    ],
)
def test_what_was_damaged_is_decoded_again(harm: Callable[[Path], object], shards: Path, tmp_path: Path) -> None:
    sample = opened(shards, tmp_path / "kept").sample("train", 0)
    image = sample.image()
    harm(kept_files(tmp_path / "kept")[0])
    np.testing.assert_array_equal(sample.image(), image)
    np.testing.assert_array_equal(sample.image(), image)


def test_a_folder_that_takes_no_file_changes_nothing(shards: Path, tmp_path: Path) -> None:
    sample = opened(shards, tmp_path / "kept").sample("train", 0)
    (tmp_path / "kept" / sample.tar_path.name).write_text("a file where the folder of its images is to be")
    np.testing.assert_array_equal(sample.image(), ShardSet.open(shards).sample("train", 0).image())


def test_a_bad_image_is_named_as_without(shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    sample = opened(copy, tmp_path / "kept").sample("train", 0)
    at = sample.entry.members["jpg"][0]
    with sample.tar_path.open("r+b") as tar:
        tar.seek(at)
        tar.write(bytes(64))
    with pytest.raises(UserError, match=f"the image of sample {sample.key} in .* can't be decoded"):
        sample.image()
    assert kept_files(tmp_path / "kept") == []


def read_all(shards: Path, folder: Path) -> None:
    for _ in range(20):
        for sample in opened(shards, folder).samples("train"):
            assert np.array_equal(sample.image(), StoredSample(sample.tar_path, sample.entry, sample.files).image())
            for path in (folder / sample.tar_path.name).glob("[0-9]*"):
                if path.suffix != ".partial" and int(path.name) % 2:
                    os.remove(path)


def test_processes_share_a_folder(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    processes = [multiprocessing.Process(target=read_all, args=(shards, tmp_path / "kept")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(kept_files(tmp_path / "kept")) == 9
