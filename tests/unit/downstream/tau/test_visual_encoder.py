"""What sees on TAU's scenes: EfficientNetV2-S from files of several kinds, trunks of ours, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from downstream.benchmarks import defaults_of
from downstream.tau.kind import TauRunSettings
from downstream.tau.settings import TauSettings
from downstream.tau.visual_encoder import VisualEncoder, load_visual_encoder
from shards.errors import UserError


def settings(weights: str = "random", visual: str = "efficientnet-v2-s", **more: object) -> TauRunSettings:
    tau = TauSettings(visual=visual)  # type: ignore[arg-type]
    return replace(defaults_of("tau-scenes", "paper"), weights=weights, tau=tau, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 365 places under a wrapper's names, as training scripts write it."""
    torch.manual_seed(1)
    network = torchvision.models.efficientnet_v2_s(num_classes=365)
    path = tmp_path_factory.mktemp("weights") / "places.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    return path


def test_a_file_of_another_number_of_classes_is_taken(file: Path) -> None:
    trunk = load_visual_encoder(settings(str(file)))
    assert (trunk.num_features, trunk.backbone) == (1280, "efficientnet-v2-s")
    assert "780 tensors of efficientnet-v2-s" in trunk.report
    assert trunk.unused == ["module.classifier.1.bias", "module.classifier.1.weight"]
    torch.manual_seed(1)
    network = torchvision.models.efficientnet_v2_s(num_classes=365).eval()
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = network.avgpool(network.features((images / 255 - mean) / std)).flatten(1)
    torch.testing.assert_close(VisualEncoder(trunk).eval()(images), expected, atol=1e-5, rtol=1e-4)


def test_random_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (load_visual_encoder(settings(seed=seed)).module.state_dict() for seed in (3, 3, 4))
    name = "features.7.0.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    assert not any(name.startswith("classifier") for name in first)


def test_a_trunk_of_ours_is_taken() -> None:
    trunk = load_visual_encoder(settings(visual="trunk", backbone="resnet18"))
    assert (trunk.backbone, trunk.num_features) == ("resnet18", 512)


def test_what_is_no_efficientnet(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(
        UserError, match=r"backbone must be auto or that of the weights, resnet18, got efficientnet-v2-s"
    ):
        load_visual_encoder(settings(str(path)))
    with pytest.raises(UserError, match=r"backbone must be auto with tau.visual efficientnet-v2-s, got resnet18"):
        load_visual_encoder(settings(backbone="resnet18"))
