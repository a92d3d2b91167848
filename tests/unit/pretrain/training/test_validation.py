"""Validation draws its intervals by recording where the pairs name theirs, as `evaluate` does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from released_runs import small_towers
from tiny_shards import write_shard_set

from pretrain.data.image_transforms import RandomImageView
from pretrain.ranking.scores import DIRECTIONS
from pretrain.settings.pretraining import DataSettings
from pretrain.training.validation import validate_retrieval, validate_views
from retrieval.evaluation import evaluate_weights
from shards.schema import Sample
from shards.streaming.reading import ShardSet


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 validation pairs, three clips of each of twelve recordings."""
    generator = np.random.default_rng(0)

    def pair(number: int) -> Sample:
        jpeg = cv2.imencode(".jpg", generator.integers(0, 256, (64, 64, 3), dtype=np.uint8))[1].tobytes()
        sound = np.asfortranarray(generator.integers(0, 256, (128, 140), dtype=np.uint8))
        place = {"longitude": 0.0, "latitude": 40.0, "title": "", "recording": f"recording {number // 3}"}
        return Sample(f"{number:04d}", jpeg, sound, place)

    folder = tmp_path_factory.mktemp("clips") / "shards"
    return write_shard_set(folder, {"val": 36}, pair, samples_per_shard=7, split={"split_by": "key"})


def test_intervals_are_those_of_evaluate(clips: Path, tmp_path: Path) -> None:
    towers = small_towers()
    scores = validate_retrieval(towers, ShardSet.open(clips), precision="fp32", crops=2)
    towers.save_pretrained(tmp_path / "model")
    metrics = evaluate_weights(tmp_path / "model", clips, tmp_path / "out", split="val", crops=2)
    found, expected = scores["intervals"], metrics["intervals"]
    assert (found["unit"], found["num_units"]) == (expected["unit"], expected["num_units"]) == ("recording", 12)
    for direction in DIRECTIONS:
        assert scores[direction]["mean_rank"] == pytest.approx(metrics[direction]["mean_rank"], abs=0.5)
        assert found[direction].keys() == expected[direction].keys()
        low, high = expected[direction]["mean_rank"]
        # Fewer draws, of the same distribution.
        assert found[direction]["mean_rank"] == pytest.approx([low, high], abs=0.15 * (high - low))


def test_two_views_have_intervals(clips: Path) -> None:
    view = RandomImageView(DataSettings(image_size=32))
    scores = validate_views(small_towers(), ShardSet.open(clips), view, precision="fp32")
    low, high = scores["intervals"]["view_to_view"]["mean_rank"]
    assert low <= scores["view_to_view"]["mean_rank"] <= high
    assert scores["intervals"]["num_units"] == 12
