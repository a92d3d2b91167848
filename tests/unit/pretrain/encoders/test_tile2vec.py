"""Tile2Vec's published weights: a state dict of their names and shapes is recognised, cut to RGB and computed alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from downstream.landcover.deeplab import DeepLab
from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import checked_layers
from pretrain.weights.encoder_weights import load_encoder

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def published() -> State:
    """naip_trained.ckpt has these names and shapes; PyTorch of that time wrote no `num_batches_tracked`."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def convolution(name: str, inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> None:
        scale = (2 / (inputs * kernel**2)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * scale
        if bias:
            state[f"{name}.bias"] = torch.zeros(outputs)

    def norm(name: str, width: int) -> None:
        for part in ("weight", "running_var"):
            state[f"{name}.{part}"] = torch.rand(width, generator=generator) + 0.5
        for part in ("bias", "running_mean"):
            state[f"{name}.{part}"] = torch.randn(width, generator=generator) / 10

    convolution("conv1", 4, 64, 3)
    norm("bn1", 64)
    inputs = 64
    for layer, outputs in enumerate((64, 128, 256, 512, 512), 1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            convolution(f"{name}.conv1", inputs if block == 0 else outputs, outputs, 3)
            convolution(f"{name}.conv2", outputs, outputs, 3)
            convolution(f"{name}.conv3", outputs, outputs, 3, bias=True)
            for i in (1, 2, 3):
                norm(f"{name}.bn{i}", outputs)
            if block == 0 and layer > 1:
                convolution(f"{name}.shortcut.0", inputs, outputs, 1)
                norm(f"{name}.shortcut.1", outputs)
        inputs = outputs
    state["linear.weight"], state["linear.bias"] = torch.randn(10, 512, generator=generator), torch.zeros(10)
    return state


def by_the_letter(state: State, images: Tensor) -> list[Tensor]:
    """The maps after the stem and each layer, as SoundingEarth's authors compute them from the file."""

    def norm(name: str, values: Tensor) -> Tensor:
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(values, *parts)  # type: ignore[arg-type]

    maps = [F.relu(norm("bn1", F.conv2d(images, state["conv1.weight"][:, :3], padding=1)))]
    for layer, stride in enumerate((1, 2, 2, 2, 2), 1):
        current = maps[-1]
        for block in range(2):
            name, step = f"layer{layer}.{block}", stride if block == 0 else 1
            found = F.conv2d(current, state[f"{name}.conv1.weight"], stride=step, padding=1)
            found = F.conv2d(F.relu(norm(f"{name}.bn1", found)), state[f"{name}.conv2.weight"], padding=1)
            shortcut = current
            if f"{name}.shortcut.0.weight" in state:
                shortcut = F.conv2d(current, state[f"{name}.shortcut.0.weight"], stride=step)
                shortcut = norm(f"{name}.shortcut.1", shortcut)
            current = F.relu(norm(f"{name}.bn2", found) + shortcut)
        maps.append(current)
    return maps


@torch.inference_mode()
@pytest.mark.parametrize("backbone", ["auto", "tile2vec-resnet18"])
def test_the_published_file_is_recognised_and_computed_alike(backbone: str, published: State, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "naip_trained.ckpt")
    loaded = load_encoder(str(tmp_path / "naip_trained.ckpt"), backbone=backbone)
    assert (loaded.backbone, loaded.num_features, loaded.projection) == ("tile2vec-resnet18", 512, None)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    expected = by_the_letter(published, images)[-1]
    assert expected.shape == (2, 512, 3, 3)
    module = loaded.module.eval()
    torch.testing.assert_close(module.feature_map(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module(images), expected.mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_deeplab_takes_its_maps_at_a_quarter_and_a_sixteenth(published: State, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "naip_trained.ckpt")
    network = DeepLab(load_encoder(str(tmp_path / "naip_trained.ckpt")), 6).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        low, high = network.encoder(images)
        maps = by_the_letter(published, images)
    # As by the authors: the low-level features are those after layer 3, and nothing is dilated.
    torch.testing.assert_close(low, maps[3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(high, maps[5], rtol=1e-4, atol=1e-4)
    assert (low.shape[-1], high.shape[-1]) == (16, 4)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_every_parameter_is_in_one_layer_and_learns(norm: str) -> None:
    module = build_encoder("tile2vec-resnet18", channels=3, norm=norm)
    assert len(checked_layers(module)) == 6
    module(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
