"""Weights in half precision: what is rounded, what it changes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from released_runs import small_towers
from safetensors.torch import load_file

from pretrain.model import TwoTower
from pretrain.releasing.half_precision import compare_half
from pretrain.releasing.stored_weights import rounded_to_half, write_weights
from pretrain.training.validation import validate_retrieval
from pretrain.weights.same_embeddings import fixed_probe
from shards.errors import UserError
from shards.streaming.reading import ShardSet


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    return small_towers(image_encoder="narrow-resnet10", sound_encoder="narrow-resnet10")


def test_matrices_are_rounded_and_come_back_unchanged(towers: TwoTower, tmp_path: Path) -> None:
    rounded = rounded_to_half(towers)
    rounded.save_pretrained(tmp_path)
    write_weights(tmp_path / "model.safetensors", rounded.state_dict(), half=True)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["image_tower.trunk.conv1.weight"].dtype == torch.float16
    for name in ("bn1.running_var", "bn1.weight"):
        assert stored[f"image_tower.trunk.{name}"].dtype == torch.float32
        assert torch.equal(stored[f"image_tower.trunk.{name}"], towers.state_dict()[f"image_tower.trunk.{name}"])
    again = TwoTower.from_pretrained(tmp_path)
    images = fixed_probe(towers.config).images
    assert again.image_tower.trunk.get_parameter("conv1.weight").dtype == torch.float32
    with torch.inference_mode():
        assert torch.equal(again.encode_image(images), rounded.encode_image(images))
        assert not torch.equal(again.encode_image(images), towers.encode_image(images))


def test_what_it_changes_is_measured_on_pairs(towers: TwoTower, tiny_shards: Path) -> None:
    rounded, shard_set = rounded_to_half(towers), ShardSet.open(tiny_shards)
    found = compare_half(towers, rounded, [fixed_probe(towers.config)], shard_set)
    assert 0 < found.change < 0.01
    assert found.num_pairs == 16
    assert found.median_ranks.keys() == {"image_to_sound", "sound_to_image"}
    for direction, pair in found.median_ranks.items():
        for model, rank in zip((towers, rounded), pair, strict=True):
            scores = validate_retrieval(model, shard_set, precision="fp32", crops=1)
            assert rank.median == scores[direction]["median_rank"]
            low, high = rank.interval
            assert 1 <= low <= rank.median <= high <= 16
            assert low < high
            assert f"{rank.median:g} ({low:g} – {high:g})" in str(found)
    assert "of 16 validation pairs in float32 and in half precision, with 95 % intervals: image → sound" in str(found)


def test_a_change_above_the_tolerance_is_refused(towers: TwoTower) -> None:
    other = rounded_to_half(towers)
    with torch.no_grad():
        other.image_tower.projection.get_parameter("weight").mul_(1.05)
    with pytest.raises(UserError, match=r"more than 1%, so nothing was written; release without --half"):
        compare_half(towers, other, [fixed_probe(towers.config)], None)


def test_a_weight_beyond_half_precision_is_refused() -> None:
    towers = small_towers()
    with torch.no_grad():
        towers.sound_tower.projection.get_parameter("weight")[0, 0] = 70_000.0
    with pytest.raises(UserError, match=r"sound_tower\.projection\.weight has a weight of 7e\+04, above 65504"):
        rounded_to_half(towers)
