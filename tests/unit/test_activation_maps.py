"""What in an image speaks for a direction: the map's mean is the inner product, and it points where the cause is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pretrain.activation_maps import feature_maps_of, similarity_maps
from pretrain.model import TwoTower, TwoTowerConfig


def towers(*, on_sphere: bool, encoder: str = "resnet18") -> TwoTower:
    torch.manual_seed(0)
    config = TwoTowerConfig(embedding_dim=8, image_size=96, on_sphere=on_sphere, image_encoder=encoder)
    return TwoTower(config).eval()


@pytest.mark.parametrize("on_sphere", [False, True])
@pytest.mark.parametrize("encoder", ["resnet18", "soundingearth-resnet18"])
def test_the_mean_of_a_map_is_the_centred_inner_product(on_sphere: bool, encoder: str) -> None:
    model = towers(on_sphere=on_sphere, encoder=encoder)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 255, (3, 3, 96, 96), dtype=torch.uint8, generator=generator)
    origin, directions = torch.randn(8, generator=generator), torch.randn(3, 8, generator=generator)
    maps = similarity_maps(model, images, origin, directions)
    assert maps.shape == (3, 3, 3)
    with torch.inference_mode():
        embeddings = model.encode_image(images)
    expected = [(float((embeddings[i] - origin) @ directions[i])) for i in range(3)]
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), expected, rtol=1e-4, atol=1e-5)


def test_each_place_is_its_own_projection() -> None:
    # The slow, literal way: each place of the feature map through the projection by itself.
    model = towers(on_sphere=False)
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 255, (1, 3, 96, 96), dtype=torch.uint8, generator=generator)
    origin, direction = torch.randn(8, generator=generator), torch.randn(8, generator=generator)
    with torch.inference_mode(), feature_maps_of(model.image_tower.trunk) as seen:
        model.encode_image(image)
        for y in range(3):
            for x in range(3):
                place = model.image_tower.projection(seen[0][0, :, y, x])
                expected = sum(float((place[k] - origin[k]) * direction[k]) for k in range(8))
                found = similarity_maps(model, image, origin, direction[None])[0, y, x]
                assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_hook_is_gone_afterwards() -> None:
    model = towers(on_sphere=False)
    image = torch.zeros(1, 3, 96, 96, dtype=torch.uint8)
    with torch.inference_mode(), feature_maps_of(model.image_tower.trunk) as seen:
        model.encode_image(image)
    with torch.inference_mode():
        model.encode_image(image)
    assert len(seen) == 1


def test_a_trunk_without_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="avgpool"), feature_maps_of(nn.Flatten()):
        pass
