"""Weights to start from: what is taken from which file, and the sentence for everything that doesn't fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from downstream.running.heads import SceneClassifier
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.weights.encoder_weights import load_encoder
from shards.errors import UserError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def saved(state: object, path: Path) -> str:
    torch.save(state, path)
    return str(path)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None).state_dict()


@torch.no_grad()
def features_of(weights: str) -> Tensor:
    return load_encoder(weights).module.eval()(IMAGES)


@torch.no_grad()
def expected(state: dict[str, Tensor]) -> Tensor:
    network = torchvision.models.resnet18(weights=None)
    network.load_state_dict(state)
    network.fc = torch.nn.Identity()
    return network.eval()(IMAGES)


def refusal(weights: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        load_encoder(weights, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "encoder.", "model.", "net.encoder_q.", "image_tower.trunk."]
)
def test_torchvision_keys_under_any_prefix(prefix: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    named = {f"{prefix}{name}": value for name, value in state.items()}
    trunk = load_encoder(saved(named, tmp_path / "weights.pth"))
    assert (trunk.backbone, trunk.num_features, trunk.projection) == ("resnet18", 512, None)
    assert trunk.unused == [f"{prefix}fc.bias", f"{prefix}fc.weight"]
    assert "120 tensors of resnet18" in trunk.report
    assert f"2 unused: {prefix}fc.bias, {prefix}fc.weight" in trunk.report
    torch.testing.assert_close(features_of(str(tmp_path / "weights.pth")), expected(state))


def test_safetensors_nested_and_half_precision_files(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    torch.testing.assert_close(features_of(str(tmp_path / "weights.safetensors")), expected(state))
    nested = {"epoch": 3, "state_dict": {f"model.{name}": value for name, value in state.items()}}
    torch.testing.assert_close(features_of(saved(nested, tmp_path / "nested.ckpt")), expected(state))
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    found = features_of(saved(halved, tmp_path / "half.pth"))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected(state), rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_encoders_of_timm_and_segmentation_models(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    found = features_of(saved(network.state_dict(), tmp_path / "timm.pth"))
    torch.testing.assert_close(found, network(IMAGES), rtol=1e-4, atol=1e-4)

    segmentation = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=6).eval()
    trunk = load_encoder(saved(segmentation.state_dict(), tmp_path / "smp.pth"))
    assert "named encoder.…" in trunk.report
    assert trunk.unused
    assert all(name.startswith(("decoder.", "segmentation_head.")) for name in trunk.unused)
    kernel = segmentation.state_dict()["encoder.layer4.1.conv2.weight"]
    assert torch.equal(trunk.module.state_dict()["layer4.1.conv2.weight"], kernel)


def test_of_several_networks_the_one_that_sees_images(state: dict[str, Tensor], tmp_path: Path) -> None:
    other = torchvision.models.resnet18(weights=None).state_dict()
    both = {f"encoder_k.{name}": value for name, value in other.items()}
    both |= {f"encoder_q.{name}": value for name, value in state.items()}
    torch.testing.assert_close(features_of(saved(both, tmp_path / "moco.pth")), expected(state))
    sound = {**other, "conv1.weight": torch.zeros(64, 1, 7, 7)}
    both = {f"a.{name}": value for name, value in sound.items()} | {f"b.{name}": value for name, value in state.items()}
    torch.testing.assert_close(features_of(saved(both, tmp_path / "towers.pth")), expected(state))
    both = {f"a.{name}": value for name, value in other.items()} | {f"b.{name}": value for name, value in state.items()}
    assert "holds several networks, with prefixes 'a.', 'b.'" in refusal(saved(both, tmp_path / "two.pth"))


def test_other_architectures_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    models = torchvision.models
    sentence = refusal(saved(models.vit_b_16(weights=None, image_size=32).state_dict(), tmp_path / "vit.pth"))
    assert "does not match any registered encoder, which has tensors such as layer1.0.conv1.weight" in sentence
    assert "tensors are named like class_token" in sentence
    deeper = saved(models.resnet34(weights=None).state_dict(), tmp_path / "deeper.pth")
    assert "architecture of resnet18: it holds 96 tensors that resnet18 does not have" in refusal(deeper)
    wider = saved(models.wide_resnet50_2(weights=None).state_dict(), tmp_path / "wider.pth")
    assert "layer1.0.conv1.weight has shape (128, 64, 1, 1), resnet50 needs (64, 64, 1, 1)" in refusal(wider)
    grey = saved({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "grey.pth")
    assert "conv1.weight has shape (64, 1, 7, 7)" in refusal(grey)
    part = {name: value for name, value in state.items() if not name.startswith("layer2.1")}
    assert "it lacks 10 of 120 tensors" in refusal(saved(part, tmp_path / "part.pth"))
    assert "backbone must be auto or that of the weights, resnet18, got resnet50" in refusal(
        saved(state, tmp_path / "weights.pth"), backbone="resnet50"
    )


def test_files_that_hold_no_sound_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    assert "give a .safetensors file" in refusal(saved(torch.nn.Linear(2, 2), tmp_path / "module.pth"))
    (tmp_path / "text.pth").write_text("not weights")
    assert "text.pth can't be read as weights" in refusal(str(tmp_path / "text.pth"))
    (tmp_path / "text.safetensors").write_text("not weights")
    assert "text.safetensors can't be read as weights" in refusal(str(tmp_path / "text.safetensors"))
    assert "holds a list" in refusal(saved([1, 2], tmp_path / "list.pth"))
    assert "has no named tensors" in refusal(saved({"epoch": 1}, tmp_path / "numbers.pth"))
    diverged = {**state, "layer1.0.bn1.weight": torch.full((64,), float("nan"))}
    assert "layer1.0.bn1.weight holds non-finite values" in refusal(saved(diverged, tmp_path / "nan.pth"))
    assert "weights must be random, imagenet" in refusal(str(tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    assert "give a run folder" in refusal(str(tmp_path / "empty"))


def test_random_weights_depend_on_their_seed_alone() -> None:
    torch.manual_seed(5)
    first, second, third = (load_encoder("random", seed=seed).module.state_dict() for seed in (0, 0, 1))
    assert torch.equal(first["conv1.weight"], second["conv1.weight"])
    assert not torch.equal(first["conv1.weight"], third["conv1.weight"])
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)


def test_imagenet_from_a_file_or_the_cache_or_a_clear_sentence(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trunk = load_encoder("imagenet", imagenet_file=Path(saved(state, tmp_path / "imagenet.pth")))
    assert (trunk.weights, trunk.backbone) == ("imagenet", "resnet18")
    assert "holds a resnet18, but backbone is resnet50; give a file of resnet50" in refusal(
        "imagenet", backbone="resnet50", imagenet_file=tmp_path / "imagenet.pth"
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("name resolution failed")

    published = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(type(published), "get_state_dict", unreachable)
    sentence = refusal("imagenet")
    assert "can't be downloaded (name resolution failed)" in sentence
    assert "or give it as imagenet_file" in sentence
    (tmp_path / "cache" / "hub" / "checkpoints").mkdir(parents=True)
    saved(state, tmp_path / "cache" / "hub" / "checkpoints" / published.url.rpartition("/")[2])
    torch.testing.assert_close(features_of("imagenet"), expected(state))


@pytest.mark.parametrize("on_sphere", [False, True])
def test_a_run_of_ours_brings_its_embedding(on_sphere: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    towers = TwoTower(TwoTowerConfig(on_sphere=on_sphere, image_mean=(0.1, 0.2, 0.3))).eval()
    towers.save_pretrained(tmp_path / "run" / "model")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for weights in ("run", "run/model", "run/model/model.safetensors"):
        trunk = load_encoder(str(tmp_path / weights))
        classifier = SceneClassifier(trunk, 4, on_embedding=True).eval()
        with torch.no_grad():
            torch.testing.assert_close(classifier.features(images), towers.encode_image(images))
