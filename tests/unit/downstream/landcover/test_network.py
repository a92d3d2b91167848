"""DeepLabv3+ on a trunk is segmentation-models-pytorch's, and its loss is that of the global batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from two_processes import on_two_processes

from downstream.landcover.deeplab import DeepLab
from downstream.landcover.segmentation import LandCoverMapping, check_patches_at_once, pixel_cross_entropy
from downstream.landcover.tiles import UNKNOWN
from pretrain.encoders.building import build_encoder
from pretrain.training.task import Evaluation
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder
from shards.errors import UserError


def an_image(side: int = 64) -> Tensor:
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_weights_load_into_the_packages_own_network_and_give_the_same_scores(backbone: str, tmp_path: Path) -> None:
    import segmentation_models_pytorch

    trunk = load_encoder("random", backbone=backbone)
    ours = DeepLab(trunk, 6).eval()
    task = LandCoverMapping.__new__(LandCoverMapping)
    task.encoder, task.classes = trunk, {"urban": (0, 255, 255)}
    task.settings = type("Settings", (), {"image_size": 512})()  # type: ignore[assignment]
    task.write_model(tmp_path, ours, Evaluation("test", {}, None, ""), step=1, epoch=1)
    assert json.loads((tmp_path / "model/config.json").read_text())["encoder"] == backbone

    theirs = segmentation_models_pytorch.DeepLabV3Plus(backbone, encoder_weights=None, classes=6).eval()
    theirs.load_state_dict(load_file(tmp_path / "model/model.safetensors"))
    mean, std = torch.tensor(trunk.mean).view(1, 3, 1, 1), torch.tensor(trunk.std).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = theirs((an_image().float() / 255 - mean) / std)
        torch.testing.assert_close(ours({"image": an_image()})["logits"], expected, rtol=1e-4, atol=1e-5)


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
    with pytest.raises(
        UserError, match=r"timm:convnext_atto is not a sequence of five stages.*which DeepLabv3\+ needs"
    ):
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
