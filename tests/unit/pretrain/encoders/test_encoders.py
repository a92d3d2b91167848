"""Encoders of every library: shapes, feature maps, layers, published weights for other channels and sizes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from conftest import REPOSITORY, missing
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torchvision.models.resnet import BasicBlock

from pretrain.encoders import ENCODERS
from pretrain.encoders.building import build_encoder, synced
from pretrain.encoders.encoder import Encoder, checked_layers
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.settings.pretraining import Config, ModelSettings
from pretrain.weights.encoder_weights import load_encoder
from pretrain.weights.towers import build_towers
from shards.errors import UserError
from shards.front_ends import FRONT_ENDS
from shards.registry import PLUGINS_VARIABLE
from shards.streaming.reading import ShardSet

VIT = "timm:vit_tiny_patch16_224"
OF_TIMM = [
    VIT,
    "timm:convnext_atto",
    "timm:swin_tiny_patch4_window7_224",
    "timm:mobilenetv3_small_050",
    "timm:tf_efficientnet_lite0",
]
LITE0 = REPOSITORY.parent / "shared" / "weights" / "tf_efficientnet_lite0-imagenet.safetensors"


@pytest.mark.parametrize(
    "name", ["resnet18", "soundingearth-resnet18", "narrow-resnet10", "efficientnet-v2-s", *OF_TIMM]
)
@torch.no_grad()
def test_every_encoder_keeps_the_interface(name: str) -> None:
    torch.manual_seed(0)
    colour = build_encoder(name, channels=3, input_size=(64, 64)).eval()
    grey = build_encoder(name, channels=1, input_size=(64, 64)).eval()
    inputs = torch.randn(2, 1, 64, 64)
    assert grey(inputs).shape == (2, grey.num_features)
    assert grey.feature_map(inputs).shape[:1] == (2,)
    assert grey.feature_map(inputs).ndim == 4
    layers = checked_layers(grey)
    assert len(layers) >= 5
    assert any(name.removeprefix(grey.prefix) in grey.input_weights for name in layers[0])

    grey.load_published(grey.adapted(colour.published_state()))
    # A grey image, the same in three channels, is answered as its one channel.
    torch.testing.assert_close(grey(inputs), colour(inputs.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "narrow-resnet10", "efficientnet-v2-s", "mn04"])
@torch.no_grad()
def test_group_norm_takes_the_place_of_every_batch_norm(name: str) -> None:
    encoder = build_encoder(name, channels=1, norm="group")
    norms = [type(layer) for layer in encoder.modules() if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm))]
    assert set(norms) == {nn.GroupNorm}
    assert encoder(torch.randn(2, 1, 64, 64)).shape == (2, encoder.num_features)


@torch.no_grad()
def test_residual_branches_of_the_narrow_resnet_start_at_zero() -> None:
    encoder = build_encoder("narrow-resnet10", channels=3)
    branches = [block for block in encoder.modules() if isinstance(block, BasicBlock)]
    assert len(branches) == 4
    inputs = torch.rand(2, 32, 16, 16)
    torch.testing.assert_close(branches[0](inputs), inputs)
    assert encoder.num_features == 256


@torch.no_grad()
def test_a_vision_transformer_takes_weights_of_another_input_size() -> None:
    torch.manual_seed(0)
    small = build_encoder(VIT, channels=3, input_size=(64, 64))
    large = build_encoder(VIT, channels=3, input_size=(96, 64))
    large.load_published(large.adapted(small.published_state()))
    assert torch.equal(large.state_dict()["network.norm.weight"], small.state_dict()["network.norm.weight"])
    assert large(torch.randn(1, 3, 96, 64)).shape == (1, 192)
    small.set_input_size((96, 96))
    assert small(torch.randn(1, 3, 96, 96)).shape == (1, 192)
    mixer = build_encoder("timm:mixer_s32_224", channels=3, input_size=(64, 64))
    with pytest.raises(UserError, match="was built for images of 64 x 64 pixels and can't take 96 x 96"):
        mixer.set_input_size((96, 96))


def test_the_maps_places_are_those_of_the_image() -> None:
    # The features of a token are those of its patch: what changes in one corner changes there most.
    torch.manual_seed(0)
    encoder = build_encoder("timm:swin_tiny_patch4_window7_224", channels=3, input_size=(64, 96)).eval()
    images = torch.zeros(2, 3, 64, 96)
    images[1, :, :32, 64:] = 1
    with torch.no_grad():
        difference = encoder.feature_map(images).diff(dim=0)[0].norm(dim=0)
    assert difference.shape == (2, 3)
    assert int(difference.argmax()) == 2


class Wrong(Encoder):
    """An encoder whose layers leave one parameter out, or name one twice."""

    num_features = 2

    def __init__(self, layers: list[list[str]]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self._layers = layers

    def layers(self) -> list[list[str]]:
        return self._layers


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([["conv.weight"]], "conv.bias is listed 0 times and is a parameter"),
        ([["conv.weight"], ["conv.weight", "conv.bias"]], "conv.weight is listed 2 times"),
        ([["conv.weight", "conv.bias", "fc.bias"]], "fc.bias is listed 1 times and is no parameter"),
    ],
)
def test_layers_that_miss_a_parameter_are_refused(layers: list[list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_layers(Wrong(layers))


def test_names_and_norms_that_timm_has_not_are_refused() -> None:
    with pytest.raises(UserError, match=r"timm has no network 'convnext_ato'; did you mean 'convnext_atto'\?"):
        build_encoder("timm:convnext_ato", channels=3)
    with pytest.raises(UserError, match=r"model.norm must be batch or sync with timm:convnext_atto"):
        build_encoder("timm:convnext_atto", channels=3, norm="group")


def test_batch_norms_of_timm_keep_their_activation_when_they_are_synchronised() -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"trunk": build_encoder("timm:tf_efficientnet_lite0", channels=3), "bn": nn.BatchNorm1d(3)})
    module.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = module["trunk"](images)
        converted = synced(module)
        assert torch.equal(converted["trunk"](images), before)
    assert any(isinstance(layer, nn.SyncBatchNorm) for layer in converted["trunk"].modules())
    assert isinstance(converted["bn"], nn.SyncBatchNorm)


def test_weights_that_timm_published_load_as_timm_loads_them(tmp_path: Path) -> None:
    if not LITE0.is_file():
        missing("weights", "released weights are not at ../shared/weights")
    loaded = load_encoder(str(LITE0), backbone="timm:tf_efficientnet_lite0", image_size=64)
    assert (loaded.mean, loaded.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert loaded.unused == ["classifier.bias", "classifier.weight"]
    theirs = timm.create_model("tf_efficientnet_lite0", checkpoint_path=str(LITE0)).eval()
    theirs.reset_classifier(0)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.module.eval()(images), theirs(images))
    wrapped = tmp_path / "wrapped.safetensors"
    save_file({f"backbone.{name}": value for name, value in load_file(LITE0).items()}, wrapped)
    assert "(named backbone.…)" in load_encoder(str(wrapped), backbone="timm:tf_efficientnet_lite0").report
    with pytest.raises(UserError, match=r"name its encoder, one of: .*timm:NAME"):
        load_encoder(str(LITE0))


def test_a_real_image_has_the_features_that_timm_finds_with_its_own_transform(real_data: Path) -> None:
    if not LITE0.is_file():
        missing("weights", "released weights are not at ../shared/weights")
    image = Image.open(min((real_data / "scenes").rglob("*.jpg"))).convert("RGB").resize((224, 224))
    loaded = load_encoder(str(LITE0), backbone="timm:tf_efficientnet_lite0", image_size=224)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (loaded.mean, loaded.std))

    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    state = {name: value for name, value in load_file(LITE0).items() if not name.startswith("classifier.")}
    theirs.load_state_dict(state)
    transform = create_transform(**resolve_model_data_config(theirs) | {"crop_pct": 1.0})
    with torch.no_grad():
        ours = loaded.module.eval()((pixels - mean) / std)
        torch.testing.assert_close(ours, theirs.eval()(transform(image)[None]), rtol=1e-4, atol=1e-5)
    assert float(ours.std()) > 0.1


OUTSIDE = """
from pretrain.encoders.encoder import Encoder
from torch import nn


class Flat(Encoder):
    num_features = 4

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 8, stride=8)

    def feature_map(self, inputs):
        return self.conv(inputs).relu()

    def layers(self):
        return [["conv.weight", "conv.bias"]]


def build(*, channels, input_size, norm):
    return Flat(channels)


def build_nothing(*, channels, input_size, norm):
    return nn.Identity()


def build_otherwise(channels):
    return Flat(channels)
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_encoders.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_encoders", raising=False)
    monkeypatch.setattr(ENCODERS, "_allowed", set())
    return "my_encoders:build"


def test_outside_code_trains_and_a_model_folder_that_names_it_is_loaded_only_if_allowed(
    outside: str, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(Config(), model=ModelSettings(image_encoder=outside, sound_encoder=outside))
    towers = build_towers(config, ShardSet.open(tiny_shards).manifest, on_sphere=False)
    towers.encode_image(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).sum().backward()
    assert towers.image_tower.trunk.get_parameter("conv.weight").grad is not None
    towers.save_pretrained(tmp_path / "model")
    assert TwoTower.from_pretrained(tmp_path / "model").config.image_encoder == outside

    monkeypatch.setattr(ENCODERS, "_allowed", set())
    with pytest.raises(
        UserError, match=r"uses the model.image_encoder my_encoders:build, which is not part of Earshot"
    ):
        TwoTower.from_pretrained(tmp_path / "model")
    monkeypatch.setenv(PLUGINS_VARIABLE, outside)
    assert TwoTower.from_pretrained(tmp_path / "model").config.sound_encoder == outside


@pytest.mark.usefixtures("outside")
def test_outside_code_of_another_interface_is_refused() -> None:
    with pytest.raises(UserError, match=r"must build a pretrain.encoders.encoder.Encoder .* it built a Identity"):
        build_encoder("my_encoders:build_nothing", channels=3)
    with pytest.raises(UserError, match="must take channels, input_size and norm by name"):
        build_encoder("my_encoders:build_otherwise", channels=3)


def test_a_folder_with_an_encoder_that_is_not_registered_says_which(tmp_path: Path) -> None:
    TwoTower(TwoTowerConfig()).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"sound_encoder": "resnet18"', '"sound_encoder": "mine"'))
    with pytest.raises(UserError, match=r"mine, which is not part of Earshot; .*built-in choices: efficientnet"):
        TwoTower.from_pretrained(tmp_path)


def test_libraries_are_imported_only_by_the_encoder_that_needs_them() -> None:
    code = (
        "import sys, pretrain.model\n"
        "assert not {'timm', 'torchvision'} & sys.modules.keys()\n"
        "from pretrain.encoders.building import build_encoder\n"
        "build_encoder('resnet18', channels=3)\n"
        "assert 'timm' not in sys.modules and 'torchvision' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_an_encoder_that_does_not_state_its_layers_is_refused_where_they_are_needed() -> None:
    with pytest.raises(UserError, match=r"^Encoder does not state its layers, which layer-wise learning rates need; "):
        checked_layers(Encoder())


def test_only_random_starts_change_the_momentum_of_batch_norm(tiny_shards: Path, tmp_path: Path) -> None:
    def momenta(encoder: nn.Module) -> set[float | None]:
        return {module.momentum for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)}

    file = tmp_path / "weights.safetensors"
    save_file(build_encoder("mn01", channels=1).published_state(), file)
    assert momenta(load_encoder("random", backbone="efficientnet-v2-s").module) == {0.1}
    for init, momentum in (("random", 0.1), (str(file), 0.01)):
        model = ModelSettings(sound_encoder="mn01", sound_init=init)
        manifest = dataclasses.replace(ShardSet.open(tiny_shards).manifest, spectrogram=FRONT_ENDS["audioset-32k"])
        towers = build_towers(Config(model=model), manifest, on_sphere=False)
        assert momenta(towers.sound_tower) == {momentum}
