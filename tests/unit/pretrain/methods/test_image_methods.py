"""Methods on images alone: their views through the loader, what of them is trained, and what a run has to keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pretrain.data.batches import BatchLayout, TrainingBatches, training_loader
from pretrain.data.image_transforms import RandomImageView
from pretrain.methods.settings import AudiovisualConfig
from pretrain.methods.simclr import Simclr
from pretrain.methods.tile2vec import NearView, Tile2vec
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import Config, DataSettings, ModelSettings
from shards.streaming.reading import ShardSet, StoredSample

DATA = DataSettings(image_size=32, workers=0)
CONFIG = AudiovisualConfig(
    batch_size=8, data=DATA, model=ModelSettings(sound_pooling=4, embedding_dim=16), precision="fp32", seed=3
)
ENTRIES = {
    "image-contrastive": ("image", "other_image"),
    "simclr": ("image", "other_image"),
    "tile2vec": ("anchor", "near"),
}


def config_of(method: str, far_km: float = 0.0) -> Config:
    changes = {"tile2vec.far_km": far_km} if method == "tile2vec" else {}
    return with_settings(CONFIG, {"method": method, **changes})


def build(config: Config, shards: Path) -> Any:
    torch.manual_seed(0)
    return config.build(ShardSet.open(shards).manifest)


def batches(config: Config, shards: Path, workers: int = 0) -> list[dict[str, Any]]:
    """The batches of two epochs of six steps."""
    views = build(config, shards).views
    part = TrainingBatches(
        ShardSet.open(shards), config, BatchLayout(8), rank=0, first_step=0, last_step=12, views=views
    )
    return list(training_loader(part, workers=workers, pin_memory=False))


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name == "simclr" else pytest.mark.slow) for name in ENTRIES]
)
def test_views_are_the_same_from_spawned_workers_and_new_in_every_epoch(method: str, tiny_shards: Path) -> None:
    config = config_of(method, far_km=100.0)
    alone, together = batches(config, tiny_shards), batches(config, tiny_shards, workers=2)
    first, second = ENTRIES[method]
    images: dict[str, list[Tensor]] = {}
    for a, b in zip(alone, together, strict=True):
        assert a["keys"] == b["keys"]
        for name in (first, second):
            assert a[name].shape == (8, 3, 32, 32)
            assert torch.equal(a[name], b[name])
        assert not torch.equal(a[first], a[second])
        for key, image in zip(a["keys"], a[first], strict=True):
            images.setdefault(key, []).append(image)
    assert all(not torch.equal(*seen) for seen in images.values())


@pytest.mark.parametrize("method", ENTRIES)
def test_the_image_tower_is_trained_and_the_sound_tower_is_not(method: str, tiny_shards: Path) -> None:
    module = build(config_of(method), tiny_shards).train()
    before = {name: value.clone() for name, value in module.towers.sound_tower.state_dict().items()}
    embeddings = module(batches(config_of(method), tiny_shards)[0])
    assert {name: rows.shape for name, rows in embeddings.items()} == dict.fromkeys(ENTRIES[method], (8, 16))
    module.loss(embeddings, {}).backward()
    for name, parameter in module.named_parameters():
        if "sound_tower" in name:
            assert not parameter.requires_grad
        else:
            assert parameter.grad is not None, name
    assert all(torch.equal(value, before[name]) for name, value in module.towers.sound_tower.state_dict().items())


def test_simclr_s_head_begins_with_the_tower_s_linear_layer(tiny_shards: Path) -> None:
    simclr = build(config_of("simclr"), tiny_shards).eval()
    assert isinstance(simclr, Simclr)
    batch = batches(config_of("simclr"), tiny_shards)[0]
    embeddings = simclr(batch)
    for name in ("image", "other_image"):
        hidden = simclr.towers.encode_image(batch[name])
        last = simclr.rest_of_head[1]
        projected = torch.clamp(hidden, min=0) @ last.weight.T + last.bias
        torch.testing.assert_close(embeddings[name], projected / projected.norm(dim=1, keepdim=True))
        assert (hidden.norm(dim=1) - 1).abs().max() > 0.1
    # What is released knows nothing of the rest of the head.
    assert not any("head" in name for name in simclr.towers.state_dict())


@given(height=st.integers(1, 600), width=st.integers(1, 600), seed=st.integers(0, 2**64 - 1))
def test_a_near_tile_is_as_large_and_shares_a_quarter_or_more(height: int, width: int, seed: int) -> None:
    anchor, near = (view.crop(height, width, seed) for view in (RandomImageView(DATA), NearView(DATA)))
    assert (near.height, near.width) == (anchor.height, anchor.width)
    assert 0 <= near.top <= height - near.height
    assert 0 <= near.left <= width - near.width
    down, right = near.height - abs(near.top - anchor.top), near.width - abs(near.left - anchor.left)
    assert down * right >= anchor.height * anchor.width / 4


def test_near_tiles_lie_all_around_the_anchor() -> None:
    anchor, near = (
        RandomImageView(replace(DATA, crop_min=0.1, crop_max=0.1)),
        NearView(replace(DATA, crop_min=0.1, crop_max=0.1)),
    )
    boxes = [(anchor.crop(1000, 1000, seed), near.crop(1000, 1000, seed)) for seed in range(2000)]
    shifts = np.array([(n.top - a.top, n.left - a.left) for a, n in boxes])
    assert np.all(shifts.min(0) == -50)
    assert np.all(shifts.max(0) == 50)
    assert np.all(np.abs(shifts.mean(0)) < 4 * 29 / np.sqrt(2000))
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.09


def test_near_and_anchor_are_changed_independently() -> None:
    image, seeds = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), range(400)
    angles = []
    for seed in seeds:
        views = RandomImageView(DATA), NearView(DATA)
        for view in views:
            view(image, seed)
        angles.append([view._transform.transforms[0].params["angle"] for view in views])
    assert abs(np.corrcoef(np.array(angles).T)[0, 1]) < 0.2


def embeddings_of(n: int) -> dict[str, Tensor]:
    rows = torch.randn(2, n, 16, generator=torch.Generator().manual_seed(0))
    return {"anchor": rows[0], "near": rows[1]}


def test_tile2vec_draws_on_after_a_resume(tiny_shards: Path) -> None:
    first, again = build(config_of("tile2vec"), tiny_shards), build(config_of("tile2vec"), tiny_shards)
    for _ in range(3):
        first.loss(embeddings_of(20), {})
    again.load_state_dict(first.state_dict())
    following = [first.loss(embeddings_of(20), {}).item() for _ in range(3)]
    assert [again.loss(embeddings_of(20), {}).item() for _ in range(3)] == following
    assert len(set(following)) == 3


def test_anchors_without_a_far_tile_are_left_out_and_counted(tiny_shards: Path) -> None:
    # The places lie on 40 degrees north, 1 degree of longitude (85.2 km) apart; the batch is in order of longitude.
    config = config_of("tile2vec", far_km=850.0)
    batch = {"anchor": torch.zeros(12), "near": torch.zeros(12)} | {"place": torch.empty(12, 3)}
    samples = {sample.key: sample for sample in ShardSet.open(tiny_shards).samples("train")}
    module = build(config, tiny_shards)
    assert module.loss_inputs == ("place",)
    shape = (3, 32, 32)
    for i, key in enumerate(sorted(samples)[:12]):
        row = {name: np.empty(shape, np.uint8) for name in ("anchor", "near")} | {"place": batch["place"][i].numpy()}
        module.views.write(samples[key], 0, row)
    embeddings = embeddings_of(12)
    loss = module.loss(embeddings, {"place": batch["place"]})
    # 850 km are 9.98 of these degrees: the first two and the last two have one or two far tiles, the others none.
    assert module.without_far == 8
    kept, a, n = [0, 1, 10, 11], embeddings["anchor"], embeddings["near"]
    choices = {0: (10, 11), 1: (11,), 10: (0,), 11: (0, 1)}
    terms = {
        i: [
            max(0, ((a[i] - n[i]).norm() - (a[i] - a[f]).norm() + 50).item())
            + 0.01 * (a[i].norm() + n[i].norm() + a[f].norm()).item()
            for f in choices[i]
        ]
        for i in kept
    }
    means = [(terms[0][x] + terms[1][0] + terms[10][0] + terms[11][y]) / 4 for x in (0, 1) for y in (0, 1)]
    assert any(loss.item() == pytest.approx(mean, rel=1e-5) for mean in means)
    evaluation = module.eval().validate(ShardSet.open(tiny_shards), config)
    assert evaluation.scores["anchors_without_far"] == 8
    assert evaluation.error is None
    assert "8 anchors so far had no distant tile in their batch" in evaluation.sentence


def test_a_distance_beyond_the_antipode_leaves_no_far_tile(tiny_shards: Path) -> None:
    module = build(config_of("tile2vec", far_km=30_000.0), tiny_shards)
    places = torch.eye(3).repeat(2, 1) * torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]
    assert module.loss(embeddings_of(6), {"place": places}) == 0
    assert module.without_far == 6


def test_far_tiles_need_coordinates(tiny_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoredSample, "metadata", lambda self: {"title": "nowhere"})
    (batch,) = batches(config_of("tile2vec", far_km=1.0), tiny_shards)
    assert (
        "has no coordinates, and tile2vec.far_km > 0 needs those of every pair; set --tile2vec.far-km 0"
        in (batch["error"])
    )
    assert len(batches(config_of("tile2vec"), tiny_shards)) == 12


@pytest.mark.parametrize("method", ENTRIES)
def test_validation_finds_views_again_and_chooses_no_model(method: str, tiny_shards: Path) -> None:
    module = build(config_of(method), tiny_shards).eval()
    assert isinstance(module, Tile2vec) == (method == "tile2vec")
    evaluation = module.validate(ShardSet.open(tiny_shards), config_of(method))
    assert set(evaluation.scores) == {"view_to_view", "chance", "gallery_size", "intervals"}
    assert evaluation.error is None
