"""Pairs that share their image: counted over splits, and the later ones named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_shards import write_tiny_shards

from shards.building.describing import describe_shards, print_description
from shards.building.repeated_images import count_repeated, describe_repeated, repeated_images
from shards.decoding.image_hash import ImageHash
from shards.manifest import Manifest


def test_what_repeats_is_counted_over_splits_and_named() -> None:
    listed = [
        *[("train", "1", "a"), ("train", "2", "b"), ("train", "3", "b")],
        *[("val", "4", "a"), ("val", "5", "c"), ("val", "6", "d"), ("val", "7", "d")],
        *[("test", "8", "e"), ("test", "9", "c"), ("test", "10", "e"), ("test", "11", "b"), ("test", "12", "f")],
    ]
    found = count_repeated((split, key, ImageHash(image, None, b"")) for split, key, image in listed)
    assert found == {
        "pairs": 11,
        "across_splits": 7,
        "keys": {"val": ["4", "7"], "test": ["10", "11"]},
        "in_training": {"val": ["4"], "test": ["11"]},
    }
    assert describe_repeated(found) == (
        "11 pairs share their image with another, 7 across splits; images also in training or earlier in their split: "
        "2 of val, 2 of test"
    )


def test_a_set_that_does_not_say_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_shards(tmp_path / "set", {"train": 9, "val": 2, "test": 3})
    manifest = Manifest.load(folder)
    assert manifest.repeated_images is None
    nothing = {"pairs": 0, "across_splits": 0, "keys": {"val": [], "test": []}, "in_training": {"val": [], "test": []}}
    assert repeated_images(folder, manifest) == nothing
    built = {"split_by": "image", "split_seed": 4, "split_shares": "exact"}
    print_description(folder, {**describe_shards(folder), "warnings": ["test has 3 pairs; few"], "build": built})
    printed = capsys.readouterr().out
    assert "same images  0 pairs share their image with another, 0 across splits" in printed
    assert "test 3; by image, seed 4, exact shares" in printed
    assert "warning      test has 3 pairs; few" in printed
