"""The heads of SimCLR and MoCo: their layers, what is refused, and the losses and views that go with them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.data.image_transforms import RandomImageView
from pretrain.data.seeds import derived_seed
from pretrain.data.strong_views import StrongImageView
from pretrain.methods.heads import build_rest_of_head, head_dim_of
from pretrain.methods.settings import HeadSettings, MocoConfig, SimclrConfig
from pretrain.presets import PRESETS
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import Config, DataSettings, ModelSettings, StrongViewSettings
from pretrain.settings.rules import check_rules
from shards.errors import UserError
from shards.streaming.reading import ShardSet

SMALL: dict[str, Any] = {
    "batch_size": 8,
    "precision": "fp32",
    "data": DataSettings(image_size=32, workers=0),
    "model": ModelSettings(sound_pooling=4),
}


def built(config: Config, shards: Path) -> Any:
    torch.manual_seed(0)
    return config.build(ShardSet.open(shards).manifest)


def layers(network: nn.Module) -> list[tuple[int, int] | str]:
    """The sizes of linear layers, and the names of others."""
    return [
        (layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else type(layer).__name__
        for layer in network.modules()
        if not isinstance(layer, nn.Sequential)
    ]


@pytest.mark.parametrize(
    ("settings", "embedding_dim", "expected", "dim"),
    [
        (HeadSettings(), 128, ["ReLU", (128, 128)], 128),
        # As in the papers of SimCLR and MoCo v2, with the tower's layer of 2048 → 2048 before it.
        (HeadSettings(head_dim=128), 2048, ["ReLU", (2048, 128)], 128),
        # SoundingEarth's authors.
        (HeadSettings(head="projector"), 128, [(128, 512), "ReLU", (512, 128)], 128),
        (HeadSettings(head="projector", head_hidden=96, head_dim=32), 64, [(64, 96), "ReLU", (96, 32)], 32),
        # MoCo v1.
        (HeadSettings(head="linear"), 128, ["Identity"], 128),
    ],
)
def test_what_follows_the_towers_layer(
    settings: HeadSettings, embedding_dim: int, expected: list[Any], dim: int
) -> None:
    rest = build_rest_of_head(settings, embedding_dim)
    assert layers(rest) == expected
    assert head_dim_of(settings, embedding_dim) == dim
    assert rest(torch.ones(2, embedding_dim)).shape == (2, dim)


@pytest.mark.parametrize("method", ["simclr", "moco"])
@pytest.mark.parametrize("head", ["mlp", "projector", "linear"])
def test_every_head_trains_whole_and_none_of_it_is_released(method: str, head: str, tiny_shards: Path) -> None:
    changes = {"method": method, f"{method}.head": head, **({} if head == "linear" else {f"{method}.head_dim": 24})}
    if head == "projector":
        changes[f"{method}.head_hidden"] = 40
    kind = {"simclr": SimclrConfig, "moco": MocoConfig}[method]
    module = built(with_settings(kind(**SMALL), {**changes, "model.embedding_dim": 16}), tiny_shards).train()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = {"image": images, "other_image": images.flip(3)}
    # MoCo has no negatives, and so no gradient, before keys are queued.
    module.loss(module(batch), {})
    embeddings = module(batch)
    assert {rows.shape for rows in embeddings.values()} == {(8, 16 if head == "linear" else 24)}
    for rows in embeddings.values():
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(8))
    module.loss(embeddings, {}).backward()
    for name, parameter in module.named_parameters():
        if "sound_tower" not in name and "momentum" not in name:
            assert parameter.grad is not None, name
    first = next(iter(embeddings.values()))
    projected = module.rest_of_head(module.towers.encode_image(batch["image"]))
    torch.testing.assert_close(first, F.normalize(projected, dim=1))
    assert module.towers.config.embedding_dim == 16
    assert not any("head" in name for name in module.towers.state_dict())


def literal_one_way(views: Tensor, others: Tensor, temperature: float) -> float:
    """Minus the mean log of each second view's share of its own first view among all first views."""
    total = 0.0
    for j in range(len(others)):
        cosines = [float(F.cosine_similarity(views[i], others[j], dim=0)) / temperature for i in range(len(views))]
        total -= cosines[j] - float(np.log(np.exp(cosines).sum()))
    return total / len(others)


def test_the_authors_loss_has_the_other_first_views_as_negatives(tiny_shards: Path) -> None:
    config = replace(PRESETS["simclr-soundingearth"], **SMALL)
    module = built(config, tiny_shards)
    views, others = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(1))
    loss = module.loss({"image": views, "other_image": others}, {}).item()
    assert loss == pytest.approx(literal_one_way(views, others, 0.2), rel=1e-5)
    assert loss != pytest.approx(literal_one_way(others, views, 0.2), rel=1e-3)
    usual = replace(config, simclr=replace(config.simclr, loss="nt-xent"))
    both = built(usual, tiny_shards).loss({"image": views, "other_image": others}, {}).item()
    assert both > loss + 0.1


@pytest.mark.parametrize(("views", "kind"), [("strong", StrongImageView), ("pairs", RandomImageView)])
@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_views_are_the_strong_ones_or_those_of_the_pairs(method: str, views: str, kind: Any, tiny_shards: Path) -> None:
    base = {"simclr": SimclrConfig, "moco": MocoConfig}[method](**SMALL)
    module = built(with_settings(base, {f"{method}.views": views}), tiny_shards)
    sample = ShardSet.open(tiny_shards).sample("train", 0)
    row = {name: np.empty((3, 32, 32), np.uint8) for name in ("image", "other_image")}
    module.views.write(sample, 5, row)
    view = RandomImageView(base.data) if kind is RandomImageView else StrongImageView(StrongViewSettings(), 32)
    for name, seed in (("image", 5), ("other_image", derived_seed(5, "other view"))):
        expected = np.empty((3, 32, 32), np.uint8)
        view.of_sample(sample, seed, expected)
        np.testing.assert_array_equal(row[name], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"head_hidden": 64},
            "head_hidden must be left at 512 with {0}.head mlp, .* got 64; choose {0}.head projector",
        ),
        (
            {"head": "linear", "head_dim": 64},
            "head_dim must be 0 with {0}.head linear, .* got 64; set model.embedding_dim",
        ),
    ],
)
@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_a_size_without_effect_is_refused(method: str, changes: dict[str, Any], message: str) -> None:
    config = with_settings(PRESETS[method], {f"{method}.{name}": value for name, value in changes.items()})
    with pytest.raises(UserError, match=re.escape(method) + r"\." + message.format(method)):
        check_rules(config)


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_strengths_of_views_that_are_not_made_are_refused(method: str) -> None:
    config = with_settings(PRESETS[method], {f"{method}.views": "pairs", "strong_views.hue_degrees": 20})
    with pytest.raises(UserError, match=rf"^strong_views must be left as they are with {method}\.views pairs"):
        check_rules(config)


def test_moco_v1_makes_grey_before_it_changes_colours_and_mirrors_left_and_right_alone() -> None:
    settings = replace(PRESETS["moco-v1"].strong_views, crop_area_min=1.0)
    names = [type(step).__name__ for step in StrongImageView(settings, 32)._transform.transforms]
    assert names == ["Resize", "HorizontalFlip", "ToGray", "ColorJitter", "GaussianBlur"]
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    still = replace(settings, jitter_probability=0.0, grey_probability=0.0)
    shown = {StrongImageView(still, 32)(image, seed).transpose(1, 2, 0).tobytes() for seed in range(60)}
    assert shown == {image.tobytes(), image[:, ::-1].tobytes()}
