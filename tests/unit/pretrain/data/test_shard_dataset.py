"""`earshot.ShardDataset` under a plain DataLoader: what is stored, in order, from any number of workers."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_shards import write_shard_set, write_tiny_shards
from torch.utils.data import DataLoader

import earshot
from pretrain.data.image_transforms import evaluation_image
from pretrain.data.shard_dataset import Pair
from shards.schema import Sample
from shards.streaming.reading import ShardSet


def without_sound(pair: Pair) -> tuple[str, torch.Tensor]:
    return pair["key"], pair["image"].float() / 255


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("set") / "shards", {"train": 23, "val": 4}, image_side=48)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plain_loader_gives_the_pairs_in_order(shards: Path, workers: int) -> None:
    dataset = earshot.ShardDataset(shards, "train", image_size=32, num_frames=64)
    stored = list(ShardSet.open(shards).samples("train"))
    batches = list(DataLoader(dataset, batch_size=10, num_workers=workers))
    assert [len(batch["key"]) for batch in batches] == [10, 10, 3]
    keys = [key for batch in batches for key in batch["key"]]
    assert keys == [sample.key for sample in stored] == dataset.keys()
    images, sounds = (torch.cat([batch[name] for batch in batches]) for name in ("image", "sound"))
    assert (images.shape, images.dtype) == ((23, 3, 32, 32), torch.uint8)
    assert (sounds.shape, sounds.dtype) == ((23, 1, 128, 64), torch.uint8)
    for number, sample in enumerate(stored):
        assert np.array_equal(images[number].numpy(), evaluation_image(sample.image(), 32))
        start = (sample.num_frames - 64) // 2
        assert np.array_equal(sounds[number, 0].numpy(), sample.frames(start, 64))
    assert torch.cat([batch["number"] for batch in batches]).tolist() == list(range(23))
    longitudes = torch.cat([batch["longitude"] for batch in batches]).tolist()
    assert longitudes == [sample.metadata()["longitude"] for sample in stored]
    assert batches[0]["title"][0] == dataset.metadata(0)["title"] == "place 1000"
    assert batches[0]["label"][0] == ""


def test_whole_pairs_and_a_transform(shards: Path) -> None:
    whole = earshot.ShardDataset(shards, "val", image_size=None, num_frames=None)
    [first, *_] = ShardSet.open(shards).samples("val")
    pair = whole[0]
    assert np.array_equal(pair["image"].numpy(), first.image().transpose(2, 0, 1))
    assert np.array_equal(pair["sound"][0].numpy(), first.frames(0, first.num_frames))
    pair["sound"] += 1  # not the stored bytes themselves
    assert not torch.equal(whole[0]["sound"], pair["sound"])
    transformed = earshot.ShardDataset(shards, "val", transform=without_sound)
    [(keys, images)] = DataLoader(transformed, batch_size=4, num_workers=2)
    assert list(keys) == transformed.keys()
    assert images.shape == (4, 3, 192, 192)
    assert 0 <= images.min() < images.max() <= 1


def test_it_is_a_sequence_that_can_be_pickled(shards: Path) -> None:
    dataset = earshot.ShardDataset(shards, "val", image_size=32)
    assert len(dataset) == 4
    assert repr(dataset) == f"ShardDataset({str(shards)!r}, 'val': 4 pairs)"
    assert dataset.manifest.splits["val"] == 4
    copy: Any = pickle.loads(pickle.dumps(dataset))  # after a file was opened, too
    assert torch.equal(copy[-1]["image"], dataset[3]["image"])
    assert pickle.loads(pickle.dumps(copy))[torch.tensor(1)]["number"] == 1
    for number in (4, -5):
        with pytest.raises(IndexError, match=f"index {number} is out of range for 4 pairs"):
            dataset[number]
    for place in (slice(3), "a", 1.0, None):
        for read in (dataset.__getitem__, dataset.metadata):
            with pytest.raises(TypeError, match=r"index with a whole number, got .*; use torch\.utils\.data\.Subset"):
                read(place)  # type: ignore[operator]


def test_a_short_sound_is_repeated_and_a_missing_place_is_nan(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()
    sound = np.asfortranarray(np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8))
    shards = write_shard_set(
        tmp_path / "set", {"test": 1}, lambda number: Sample("a", jpeg, sound, {"title": 3, "label": "beach"}),
        samples_per_shard=1, split={"split_by": "key"},
    )  # fmt: skip
    pair = earshot.ShardDataset(shards, "test", num_frames=200)[0]
    assert np.array_equal(pair["sound"][0].numpy(), np.concatenate([sound, sound[:, :72]], axis=1))
    assert math.isnan(pair["longitude"])
    assert math.isnan(pair["latitude"])
    assert (pair["title"], pair["label"]) == ("", "beach")


def test_mistakes_are_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(earshot.UserError, match="unknown split 'training'; choose one of: train, val, test"):
        earshot.ShardDataset(shards, "training")
    with pytest.raises(earshot.UserError, match="image_size must be >= 1, or None for what is stored, got 0"):
        earshot.ShardDataset(shards, "train", image_size=0)
    with pytest.raises(earshot.UserError, match=r"unknown split 'all'; .*: train, val, test; .*ConcatDataset joins"):
        earshot.ShardDataset(shards, "all")
    for change, message in (
        ({"num_frames": "a"}, "num_frames must be a whole number, got 'a'"),
        ({"image_size": 6.4}, "image_size must be a whole number, got 6.4"),
        ({"transform": 3}, "transform must be a function of a pair, got 3"),
    ):
        with pytest.raises(TypeError, match=message):
            earshot.ShardDataset(shards, "train", **change)  # type: ignore[arg-type]
    assert earshot.ShardDataset(shards, "train", image_size=np.int64(32))[0]["image"].shape == (3, 32, 32)  # type: ignore[arg-type]
    with pytest.raises(earshot.UserError, match="no shards at"):
        earshot.ShardDataset(tmp_path / "nowhere", "train")
    assert len(earshot.ShardDataset(shards, "test")) == 0
