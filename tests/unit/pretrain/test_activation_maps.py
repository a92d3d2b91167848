"""What in an image brings it near to a sound: the map's mean is how much nearer it is, and each place has its part."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretrain.activation_maps import averaged_map, nearness_maps
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.errors import UserError


def towers(*, on_sphere: bool, encoder: str = "resnet18") -> TwoTower:
    torch.manual_seed(0)
    config = TwoTowerConfig(embedding_dim=8, image_size=96, on_sphere=on_sphere, image_encoder=encoder)
    return TwoTower(config).eval()


@pytest.mark.parametrize("on_sphere", [False, True])
@pytest.mark.parametrize(
    "encoder", ["resnet18", "soundingearth-resnet18", "narrow-resnet10", "timm:tf_efficientnet_lite0"]
)
def test_the_mean_of_a_map_is_half_of_how_much_nearer_the_image_is(on_sphere: bool, encoder: str) -> None:
    model = towers(on_sphere=on_sphere, encoder=encoder)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 255, (3, 3, 96, 96), dtype=torch.uint8, generator=generator)
    origin, sounds = torch.randn(8, generator=generator), torch.randn(3, 8, generator=generator)
    maps = nearness_maps(model, images, sounds, origin)
    assert maps.shape == (3, 3, 3)
    with torch.inference_mode():
        embeddings = model.encode_image(images)
    for i in range(3):
        of_origin, of_image = ((sounds[i] - point).square().sum() for point in (origin, embeddings[i]))
        assert maps[i].mean() == pytest.approx(float(of_origin - of_image) / 2, rel=1e-3, abs=1e-4)


def test_each_place_is_its_own_projection() -> None:
    # The slow, literal way: each place of the feature map through the projection by itself.
    model = towers(on_sphere=False)
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 255, (1, 3, 96, 96), dtype=torch.uint8, generator=generator)
    origin, sound = torch.randn(8, generator=generator), torch.randn(8, generator=generator)
    found = nearness_maps(model, image, sound[None], origin)[0]
    with torch.inference_mode():
        seen = averaged_map(model.image_tower.trunk, model.prepare_images(image))
        embedding = model.encode_image(image)[0]
        for y in range(3):
            for x in range(3):
                place = model.image_tower.projection(seen[0, :, y, x])
                expected = sum(
                    float((place[k] - origin[k]) * (sound[k] - (embedding[k] + origin[k]) / 2)) for k in range(8)
                )
                assert found[y, x] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_one_image_is_taken_for_all_sounds() -> None:
    model = towers(on_sphere=True)
    generator = torch.Generator().manual_seed(3)
    image = torch.randint(0, 255, (1, 3, 96, 96), dtype=torch.uint8, generator=generator)
    origin, sounds = torch.randn(8, generator=generator), torch.randn(4, 8, generator=generator)
    together = nearness_maps(model, image, sounds, origin)
    one_by_one = [nearness_maps(model, image, sound[None], origin)[0] for sound in sounds]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5, atol=1e-6)


def test_only_the_first_map_of_an_encoder_costs_a_second_pass() -> None:
    model = towers(on_sphere=True)
    passes = []
    model.image_tower.trunk.get_submodule("layer4").register_forward_hook(lambda *_: passes.append(1))
    images = torch.randint(0, 255, (2, 3, 96, 96), dtype=torch.uint8)
    for expected in (2, 3, 4):
        nearness_maps(model, images, torch.zeros(2, 8), torch.zeros(8))
        assert len(passes) == expected


def test_an_encoder_that_does_not_average_its_map_is_refused() -> None:
    model = towers(on_sphere=False, encoder="timm:vit_tiny_patch16_224")
    image = torch.randint(0, 255, (1, 3, 96, 96), dtype=torch.uint8)
    assert model.image_tower.trunk.feature_map(model.prepare_images(image)).shape == (1, 192, 6, 6)
    with pytest.raises(UserError, match=r"timm:vit_tiny_patch16_224 adds more, such as a class token"):
        nearness_maps(model, image, torch.zeros(1, 8), torch.zeros(8))
    with pytest.raises(UserError, match="a class token"):  # a refusal is not forgotten
        nearness_maps(model, image, torch.zeros(1, 8), torch.zeros(8))
