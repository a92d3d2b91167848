"""Where a run keeps decoded images: the same batches, one sentence where it can't, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretrain.data import kept_images as module
from pretrain.data.batches import BatchLayout, TrainingBatches, training_loader
from pretrain.data.kept_images import keep_images, kept_images
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, Config, DataSettings
from shards import temporary_files
from shards.errors import UserError
from shards.streaming.decoded_images import DecodedImages
from shards.streaming.reading import ShardSet

CONFIG = Config(batch_size=8, data=DataSettings(image_size=32, num_frames=64, workers=0, block_samples=20))
STEPS_PER_EPOCH = 6


def in_folder(folder: Path | None, decoded_gb: float = 1.0) -> DataSettings:
    return replace(CONFIG.data, decoded_dir=folder, decoded_gb=decoded_gb)


def size_of(shard_set: ShardSet) -> tuple[int, int]:
    """The number of images of training and validation, and the bytes of each."""
    return sum(map(shard_set.num_samples, ("train", "val"))), shard_set.sample("val", 0).image().nbytes


def batches_of(shards: Path, decoded: DecodedImages | None, workers: int) -> list[dict]:
    shard_set = ShardSet.open(shards)
    if decoded:
        keep_images(shard_set, decoded, CONFIG.data)
    part = TrainingBatches(shard_set, CONFIG, BatchLayout(8), rank=0, first_step=0, last_step=2 * STEPS_PER_EPOCH)
    return list(training_loader(part, workers=workers, pin_memory=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_images_decoded_each_time(workers: int, tiny_shards: Path, tmp_path: Path) -> None:
    with kept_images(in_folder(tmp_path / "disk")) as decoded:
        assert decoded
        kept = batches_of(tiny_shards, decoded, workers)
        assert len([path for path in decoded.folder.glob("*/*") if path.is_file()]) == 48
    assert list((tmp_path / "disk").iterdir()) == []
    for a, b in zip(kept, batches_of(tiny_shards, None, 0), strict=True):
        assert a["keys"] == b["keys"]
        assert torch.equal(a["image"], b["image"])


def test_none_are_kept_if_none_are_wanted(tmp_path: Path) -> None:
    with kept_images(in_folder(tmp_path / "disk", decoded_gb=0.0)) as decoded:
        assert decoded is None
    assert not (tmp_path / "disk").exists()


def test_without_a_folder_they_are_where_the_system_has_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with kept_images(CONFIG.data) as decoded:
        assert decoded
        assert decoded.folder.parent == tmp_path


def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = (
        f"data.decoded_dir {tmp_path / 'file'} can't be written: File exists; give a folder on a local disk, or "
        "--data.decoded-gb 0 to decode images every time"
    )
    with pytest.raises(UserError) as raised, kept_images(in_folder(tmp_path / "file")):
        pass
    assert str(raised.value) == sentence


def test_half_of_the_free_space_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage)
    with kept_images(in_folder(tmp_path)) as decoded:
        assert decoded
        assert decoded.room_bytes == 500


def test_it_says_for_how_many_there_is_room(
    tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard_set = ShardSet.open(tiny_shards)
    images, bytes_each = size_of(shard_set)
    decoded = DecodedImages(tmp_path / "images", 0)
    monkeypatch.setattr(DecodedImages, "room_bytes", images * bytes_each)
    keep_images(shard_set, decoded, CONFIG.data)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(DecodedImages, "room_bytes", 3 * bytes_each + 1)
    keep_images(shard_set, decoded, CONFIG.data)
    assert shard_set.decoded is decoded
    assert capsys.readouterr().out == (
        f"half of the free space of {tmp_path} holds about 3 of {images} decoded images; the others are decoded every "
        "time (data.decoded_dir)\n"
    )


def test_images_that_take_more_than_allowed_are_not_kept(
    tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard_set = ShardSet.open(tiny_shards)
    images, bytes_each = size_of(shard_set)
    gb, decoded = images * bytes_each / 1e9, DecodedImages(tmp_path, 0)
    keep_images(shard_set, decoded, in_folder(None, decoded_gb=gb * (1 - 1e-9)))
    assert shard_set.decoded is None
    assert capsys.readouterr().out == (
        f"the {images} decoded images take {gb:.3g} GB, more than data.decoded_gb {gb:g}, so they are decoded every "
        "time; give --data.decoded-gb 1\n"
    )
    keep_images(shard_set, decoded, in_folder(None, decoded_gb=gb))
    assert shard_set.decoded is decoded


def test_by_default_a_large_set_is_decoded_every_time_without_a_word(
    tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard_set = ShardSet.open(tiny_shards)
    monkeypatch.setattr(ShardSet, "num_samples", lambda _self, _split: 50_000)
    keep_images(shard_set, DecodedImages(tmp_path, 0), CONFIG.data)
    assert shard_set.decoded is None
    assert capsys.readouterr().out == ""
    keep_images(shard_set, DecodedImages(tmp_path, 0), in_folder(tmp_path))
    assert "more than data.decoded_gb 1, so they are decoded every time; give --data.decoded-gb 2" in (
        capsys.readouterr().out
    )


def hold_and_die(folder: Path) -> None:
    with kept_images(in_folder(folder)) as decoded:
        assert decoded
        (decoded.folder / "image").touch()
        os._exit(9)


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = multiprocessing.Process(target=hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr(temporary_files, "_swept", set())
    with kept_images(in_folder(tmp_path)) as decoded:
        assert decoded
        assert list(tmp_path.iterdir()) == [decoded.folder]
        assert decoded.folder != left


def test_a_resumed_run_may_keep_them_elsewhere_or_not() -> None:
    assert {"data.decoded_gb", "data.decoded_dir"} <= CHANGEABLE_ON_RESUME
