"""Queries that resemble training pairs are counted: by image, and by place against great-circle distances."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_shards import write_shard_set

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from retrieval.evaluation import evaluate
from retrieval.metrics_file import describe_overlap
from retrieval.options import EvaluateOptions
from shards.building.repeated_images import repeated_images
from shards.decoding.imagery import encode_jpeg
from shards.manifest import Manifest
from shards.schema import Sample

METRES_PER_DEGREE = math.radians(1) * 6_371_008.8
NORTH_METRES = {40: 99.0, 41: 101.0, 42: 999.0, 43: 1001.0, 44: 0.0}
"""Of some test pairs from the place of a training pair; the others are far away."""


def overlapping_shards(folder: Path) -> Path:
    """40 training pairs and 20 test pairs, of which 45 and 46 have images of training and 48 that of 47."""

    def pair(number: int) -> Sample:
        seed = {45: 3, 46: 4, 48: 47}.get(number, number)
        corners = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        image = cv2.resize(corners, (64, 64), interpolation=cv2.INTER_CUBIC)
        sound = np.random.default_rng(number).integers(0, 255, (128, 140), dtype=np.uint8)
        latitude = number / 2
        if number >= 40:
            latitude = -10 - number / 2 if number not in NORTH_METRES else NORTH_METRES[number] / METRES_PER_DEGREE
        place = {"longitude": 179.9999999, "latitude": latitude} if number != 50 else {"longitude": "east"}
        return Sample(str(number), encode_jpeg(image, 90 - number % 2), np.asfortranarray(sound), place)

    return write_shard_set(folder, {"train": 40, "test": 20}, pair, samples_per_shard=16, split={"split_by": "key"})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    TwoTower(TwoTowerConfig(embedding_dim=4, image_size=32, sound_pooling=4)).save_pretrained(tmp_path / "run/model")
    return tmp_path / "run"


@pytest.mark.parametrize(("protocol", "num_queries"), [("standard", 20), ("khdlr", 16), ("psm", 20)])
def test_every_protocol_counts_queries_with_an_image_or_a_place_of_training(
    protocol: str, num_queries: int, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, out = overlapping_shards(tmp_path / "shards"), tmp_path / "out"
    metrics = evaluate(EvaluateOptions(weights, shards, out, crops=1, protocol=protocol)).metrics
    counts = {"num_queries": num_queries, "same_image": 2, "within_100_m": 2, "within_1000_m": 4}
    assert metrics["overlap_with_training"] == counts
    words = (
        f"of {num_queries} queries, 2 have the same image as a training pair, 2 have a training place within "
        "100 m, and 4 have one within 1 km"
    )
    printed = capsys.readouterr()
    assert words in printed.out
    said = "protocol psm has a split of its own, but" in printed.err
    assert said == (protocol == "psm")
    assert f'<p id="overlap">O{words[1:]}.</p>' in (out / "report.html").read_text(encoding="utf-8")


def test_sets_of_earlier_versions_compare_images_and_training_has_no_overlap(weights: Path, tmp_path: Path) -> None:
    shards, out = overlapping_shards(tmp_path / "shards"), tmp_path / "out"
    known = repeated_images(shards, Manifest.load(shards))
    earlier = {name: value for name, value in known.items() if name != "in_training"}
    for stored in (earlier, known):
        dataclasses.replace(Manifest.load(shards), repeated_images=stored).save(shards)  # type: ignore[arg-type]
        assert Manifest.load(shards).repeated_images == stored
        metrics = evaluate(EvaluateOptions(weights, shards, out, crops=1)).metrics
        assert metrics["overlap_with_training"]["same_image"] == 2
        assert metrics["without_repeated_images"]["num_left_out"] == 3
    assert evaluate(EvaluateOptions(weights, shards, out, "train", crops=1)).metrics["overlap_with_training"] is None


def test_what_is_not_known_is_said() -> None:
    counts = {"num_queries": 1200, "same_image": None, "within_100_m": None, "within_1000_m": 1100}
    assert describe_overlap(counts) == (
        "of 1,200 queries, an unknown number have the same image as a training pair, an unknown number have a "
        "training place within 100 m, and 1,100 have one within 1 km"
    )
    assert describe_overlap(None) == ""
