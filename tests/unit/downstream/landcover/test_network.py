"""DeepLabv3+ on a trunk is that of SoundingEarth's authors, and its loss is that of the global batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from two_processes import on_two_processes

from downstream.landcover.deepglobe import DEEPGLOBE
from downstream.landcover.deeplab import DeepLab, atrous_rates
from downstream.landcover.demo_landcover import DEMO_LANDCOVER
from downstream.landcover.segmentation import LandCoverMapping, check_patches_at_once, pixel_cross_entropy
from downstream.landcover.tiles import UNKNOWN
from pretrain.encoders.building import build_encoder
from pretrain.training.task import Evaluation
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from shards.errors import UserError


def an_image(side: int = 64) -> Tensor:
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def a_batch_norm(state: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    weight, bias = (state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
    return (values - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + 1e-5).sqrt() * weight + bias


def by_the_letter(state: Mapping[str, Tensor], low: Tensor, high: Tensor, rates: tuple[int, ...]) -> Tensor:
    """The authors' decoder, an operation a line: features at 1/4 and 1/16 → scores at full resolution."""

    def branch(name: str, values: Tensor, rate: int = 0) -> Tensor:
        found = F.conv2d(values, state[f"{name}.0.weight"], padding=rate, dilation=max(rate, 1))
        return a_batch_norm(state, f"{name}.1", found).clamp(min=0)

    found = [branch("pyramid.branches.0", high)]
    found += [branch(f"pyramid.branches.{i + 1}", high, rate) for i, rate in enumerate(rates)]
    pooled = branch("pyramid.pooled", high.mean((2, 3), keepdim=True))
    found.append(F.interpolate(pooled, size=high.shape[2:], mode="bilinear", align_corners=True))
    joined = branch("pyramid.joined", torch.cat(found, 1))
    joined = F.interpolate(joined, size=low.shape[2:], mode="bilinear", align_corners=True)
    fused = torch.cat([joined, branch("decoder.low_level", low)], 1)
    for layer in (0, 2):
        fused = branch(f"decoder.fused.{layer}", fused, 1)
    scores = F.conv2d(fused, state["decoder.classifier.weight"], state["decoder.classifier.bias"])
    size = [4 * side for side in low.shape[2:]]
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@torch.no_grad()
def test_scores_are_those_of_the_authors_network(backbone: str) -> None:
    """Against torchvision's ResNet with one stride replaced, and the decoder by the letter; 320 px keep 6, 12, 18."""
    trunk = load_encoder("random", backbone=backbone)
    ours = DeepLab(trunk, 6, 320)
    ours({"image": an_image(320)})  # so that batch norms have statistics of their own
    ours.eval()

    network = torchvision.models.get_model(backbone, weights=None).eval()
    network.load_state_dict(ours.encoder.state_dict(), strict=False)
    first = network.layer4[0]
    strided = first.conv1 if backbone == "resnet18" else first.conv2
    strided.stride, strided.dilation, strided.padding = (1, 1), (2, 2), (2, 2)
    first.downsample[0].stride = (1, 1)
    mean, std = torch.tensor(trunk.mean).view(1, 3, 1, 1), torch.tensor(trunk.std).view(1, 3, 1, 1)
    images = (an_image(320).float() / 255 - mean) / std
    stem = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    low = network.layer1(stem)
    high = network.layer4(network.layer3(network.layer2(low)))
    assert (low.shape[-1], high.shape[-1]) == (80, 20)
    expected = by_the_letter(ours.state_dict(), low, high, (6, 12, 18))
    torch.testing.assert_close(ours({"image": an_image(320)})["logits"], expected, rtol=1e-3, atol=2e-3)


def test_the_decoder_has_the_authors_widths_and_dropouts() -> None:
    network = DeepLab(load_encoder("random"), 6)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if value.ndim == 4}
    # Plain convolutions see all channels; depthwise ones would have 1 here.
    assert [shapes[f"pyramid.branches.{i}.0.weight"] for i in range(4)] == [(256, 512, k, k) for k in (1, 3, 3, 3)]
    assert shapes["pyramid.pooled.0.weight"] == (256, 512, 1, 1)
    assert shapes["pyramid.joined.0.weight"] == (256, 1280, 1, 1)
    assert shapes["decoder.low_level.0.weight"] == (48, 64, 1, 1)
    assert shapes["decoder.fused.0.0.weight"] == (256, 304, 3, 3)
    assert shapes["decoder.fused.2.0.weight"] == (256, 256, 3, 3)
    assert shapes["decoder.classifier.weight"] == (6, 256, 1, 1)
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.5, 0.1]
    kernels = [value for name, value in network.state_dict().items() if name.startswith("pyramid.branches.1.0")]
    assert kernels[0].std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)  # He et al., fan in


def atrous(network: DeepLab) -> list[nn.Conv2d]:
    convolutions = (module for module in network.pyramid.modules() if isinstance(module, nn.Conv2d))
    return [module for module in convolutions if module.kernel_size == (3, 3)]


@pytest.mark.parametrize("side", [DEEPGLOBE.patch_size, DEMO_LANDCOVER.patch_size, 288, 32])
def test_every_tap_of_every_atrous_convolution_learns(side: int) -> None:
    torch.manual_seed(0)
    network = DeepLab(load_encoder("random"), 6, side)
    network({"image": an_image(side)})["logits"].square().mean().backward()
    assert [module.dilation[0] for module in atrous(network)] == list(network.rates)
    for module in atrous(network):
        assert module.weight.grad is not None
        taps = module.weight.grad.abs().amax((0, 1))
        assert taps.min() > 1e-3 * taps.max() > 0, (module.dilation, taps)


@given(st.integers(2, 200).map(lambda side: 16 * side))
def test_rates_fit_the_map_and_are_the_authors_where_these_fit(patch_size: int) -> None:
    rates, side = atrous_rates(patch_size), patch_size // 16
    assert 1 <= rates[0] <= rates[1] <= rates[2] < side
    assert rates == (6, 12, 18) or side < 19
    assert rates != (6, 12, 18) or side >= 19


def test_rates_of_small_patches() -> None:
    assert [atrous_rates(side) for side in (512, 304, 288, 256, 128, 64, 32)] == [
        *((6, 12, 18), (6, 12, 18), (3, 7, 10), (3, 6, 9), (2, 3, 4), (1, 2, 2), (1, 1, 1)),
    ]


def test_what_is_written_of_a_network(tmp_path: Path) -> None:
    trunk = load_encoder("random")
    task = LandCoverMapping.__new__(LandCoverMapping)
    task.encoder, task.classes = trunk, {"urban": (0, 255, 255)}
    task.settings = type("Settings", (), {"image_size": 128, "bands": None})()  # type: ignore[assignment]
    network = DeepLab(trunk, 6, 128).eval()
    task.write_model(tmp_path, network, Evaluation("test", {}, None, ""), step=1, epoch=1)
    record = json.loads((tmp_path / "model/config.json").read_text())
    assert (record["image_encoder"], record["output_stride"], record["atrous_rates"]) == ("resnet18", 16, [2, 3, 4])
    again = DeepLab(load_encoder("random", seed=1), 6, 128).eval()
    again.load_state_dict(load_file(tmp_path / "model/model.safetensors"))
    with torch.no_grad():
        assert torch.equal(again({"image": an_image()})["logits"], network({"image": an_image()})["logits"])


def test_all_of_the_trunk_is_in_the_encoder_and_the_trunk_stays_as_it_is() -> None:
    trunk = load_encoder("random")
    encoder = DeepLab(trunk, 6).encoder.state_dict()
    for name, value in trunk.module.state_dict().items():
        assert torch.equal(encoder.pop(name), value), name
    assert not encoder
    assert trunk.module.layer4[0].conv1.stride == (2, 2)  # type: ignore[union-attr,index]


def test_a_trunk_with_group_norm_serves_too() -> None:
    module = build_encoder("resnet18", channels=3, norm="group")
    network = DeepLab(LoadedEncoder(module, module.num_features, "resnet18", "a run"), 6)
    assert isinstance(network.encoder.get_submodule("bn1"), nn.GroupNorm)
    assert network({"image": an_image()})["logits"].shape == (2, 6, 64, 64)


@pytest.mark.parametrize("name", ["soundingearth-resnet18", "soundingearth-resnet50", "narrow-resnet10"])
def test_other_widths_serve_too(name: str) -> None:
    module = build_encoder(name, channels=3)
    network = DeepLab(LoadedEncoder(module, module.num_features, name, "random"), 6).eval()
    assert network({"image": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)})["logits"].shape == (1, 6, 64, 64)


def test_weights_that_are_no_resnet_are_refused() -> None:
    module = build_encoder("timm:convnext_atto", channels=3)
    with pytest.raises(UserError, match=r"timm:convnext_atto is not a sequence of stages.*which DeepLabv3\+ needs"):
        DeepLab(LoadedEncoder(module, module.num_features, module.name, "mine.pth"), 6)


@pytest.mark.parametrize(
    ("per_process", "chunk", "fits"),
    [(1, 0, False), (2, 0, True), (16, 1, False), (16, 5, False), (16, 4, True), (5, 3, True)],
)
def test_batch_norm_never_sees_a_single_patch(per_process: int, chunk: int, fits: bool) -> None:
    if fits:
        check_patches_at_once(per_process, chunk)
    else:
        with pytest.raises(UserError, match="at least 2 patches at once"):
            check_patches_at_once(per_process, chunk)


def inputs() -> tuple[Tensor, Tensor]:
    """Scores of 4 patches, and labels of which the first two are nearly all unknown."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 6, 8, 8, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 6, (4, 8, 8), generator=generator).to(torch.uint8)
    labels[:2, 1:] = UNKNOWN
    labels[3, :4] = UNKNOWN
    return logits, labels


def test_the_loss_is_the_mean_over_known_pixels() -> None:
    logits, labels = inputs()
    known = (labels != UNKNOWN).nonzero()
    terms = [-logits[i, :, y, x].log_softmax(0)[labels[i, y, x].long()] for i, y, x in known]
    torch.testing.assert_close(pixel_cross_entropy(logits, labels).double(), torch.stack(terms).mean())


def test_the_loss_of_unknown_pixels_alone_is_zero() -> None:
    logits = torch.randn(2, 6, 4, 4, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((2, 4, 4), UNKNOWN, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def one_of_two(process: int, folder: str) -> None:
    logits, labels = (part[2 * process : 2 * process + 2] for part in inputs())
    logits.requires_grad_()
    loss = pixel_cross_entropy(logits, labels)
    # Data-parallel training averages gradients over the processes.
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.save([loss.detach(), gradient / 2], f"{folder}/{process}.pt")


def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    on_two_processes(one_of_two, tmp_path)
    results = [torch.load(tmp_path / f"{process}.pt", weights_only=True) for process in (0, 1)]
    logits, labels = inputs()
    logits.requires_grad_()
    loss = F.cross_entropy(logits, labels.long(), ignore_index=UNKNOWN)
    (gradient,) = torch.autograd.grad(loss, logits)
    for result in results:
        torch.testing.assert_close(result[0].double(), loss.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.cat([result[1] for result in results]), gradient, rtol=1e-5, atol=1e-8)


def test_the_trunks_normalisation_is_used() -> None:
    trunk = load_encoder("random")
    other = replace(trunk, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    torch.manual_seed(0)
    first = DeepLab(trunk, 6).eval()
    second = DeepLab(other, 6).eval()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert not torch.allclose(
            first({"image": an_image()})["logits"], second({"image": an_image()})["logits"], atol=1e-3
        )
