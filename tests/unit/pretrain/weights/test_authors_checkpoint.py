"""SoundingEarth's released checkpoints: the converted towers embed as a network written out after the description."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import python, run
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.model import TwoTower
from pretrain.model_files import find_model_folder
from pretrain.weights.authors_checkpoint import convert_authors_checkpoint
from pretrain.weights.encoder_weights import load_encoder
from shards.errors import UserError
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS

IMAGES = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
SOUNDS = torch.randint(0, 256, (3, 1, 128, 128), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
LOW, HIGH = 0.22313016, 1.64872127
"""exp(-1.5) and exp(0.5): what the bytes 0 and 255 of a released spectrogram stand for."""


class Block(nn.Module):
    """A residual block, plain (two 3 x 3) or with a bottleneck (1 x 1, 3 x 3 with the stride, 1 x 1)."""

    def __init__(self, inputs: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * (4 if bottleneck else 1)
        sizes = [1, 3, 1] if bottleneck else [3, 3]
        strides = [1, stride, 1] if bottleneck else [stride, 1]
        channels = [inputs, width, width, outputs] if bottleneck else [inputs, width, width]
        self.count = len(sizes)
        for i in range(self.count):
            convolution = nn.Conv2d(
                channels[i], channels[i + 1], sizes[i], strides[i], padding=sizes[i] // 2, bias=False
            )
            self.add_module(f"conv{i + 1}", convolution)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(channels[i + 1]))
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ReferenceResNet(nn.Module):
    """The authors' ResNet; `pool_first` for sounds, and for images the convolution before the mean over the map."""

    def __init__(self, depths: list[int], channels: int, *, bottleneck: bool, pool_first: bool) -> None:
        super().__init__()
        self.pool_first = pool_first
        self.conv1 = nn.Conv2d(channels, 32, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        inputs = 32
        for stage, (depth, width) in enumerate(zip(depths, (64, 182, 256, 512), strict=True)):
            blocks = []
            for i in range(depth):
                blocks.append(Block(inputs, width, 2 if stage and not i else 1, bottleneck=bottleneck))
                inputs = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Conv2d(inputs, 128, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        x = self.fc(x.mean((2, 3), keepdim=True)) if self.pool_first else self.fc(x)
        return x.mean((2, 3))


class Listed(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module_list = nn.ModuleList([network, nn.Identity()])


class Reference(nn.Module):
    def __init__(self, *, bottleneck: bool) -> None:
        super().__init__()
        image = ReferenceResNet([3, 4, 6, 3] if bottleneck else [2] * 4, 3, bottleneck=bottleneck, pool_first=False)
        self.img_encoder = Listed(image)
        self.snd_encoder = Listed(ReferenceResNet([2] * 4, 1, bottleneck=False, pool_first=True))

    def embed(self) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        images = self.img_encoder.module_list[0]((IMAGES / 255 - mean) / std)
        return images, self.snd_encoder.module_list[0](SOUNDS * (HIGH - LOW) / 255 + LOW)


def reference(*, bottleneck: bool) -> Reference:
    """With weights, biases and running statistics that all differ from their first values."""
    torch.manual_seed(3)
    network = Reference(bottleneck=bottleneck)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                value.normal_(0, 0.1)
            elif value.ndim == 1 and value.is_floating_point():
                value.uniform_(0.8, 1.8)
    return network.eval()


@pytest.fixture(scope="module")
def small() -> Reference:
    return reference(bottleneck=False)


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "latest.pt")
    return folder / "latest.pt"


@pytest.mark.parametrize("bottleneck", [False, True])
@torch.no_grad()
def test_the_converted_towers_embed_as_the_authors(bottleneck: bool, tmp_path: Path) -> None:
    network = reference(bottleneck=bottleneck)
    image_embeddings, sound_embeddings = network.embed()
    report = convert_authors_checkpoint(saved(network.state_dict(), tmp_path), tmp_path / "out")
    towers = TwoTower.from_pretrained(tmp_path / "out" / "model")
    assert towers.config.image_encoder == ("soundingearth-resnet50" if bottleneck else "soundingearth-resnet18")
    assert f"{len(network.state_dict())} tensors, 0 unused" in report
    torch.testing.assert_close(towers.encode_image(IMAGES), image_embeddings, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(towers.encode_sound(SOUNDS), sound_embeddings, rtol=1e-4, atol=1e-4)
    assert (image_embeddings[0] - image_embeddings[1]).abs().max() > 1e-2


@torch.no_grad()
def test_the_command_writes_a_model_folder(small: Reference, tmp_path: Path) -> None:
    file = saved({f"module.{name}": value for name, value in small.state_dict().items()}, tmp_path)
    result = run(python("pretrain/run.py", "convert", file, "--out", tmp_path / "out"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert find_model_folder(tmp_path / "out") == tmp_path / "out" / "model"
    assert "arXiv 2108.00688" in (tmp_path / "out" / "model" / "README.md").read_text()
    towers = TwoTower.from_pretrained(tmp_path / "out")
    assert towers.config.spectrogram == RELEASED_SPECTROGRAMS
    torch.testing.assert_close(towers.encode_image(IMAGES), small.embed()[0], rtol=1e-4, atol=1e-4)

    again = run(python("pretrain/run.py", "convert", file, "--out", tmp_path / "out"), cwd=tmp_path)
    assert again.returncode == 2
    assert "already has a model" in again.stderr


@torch.no_grad()
def test_the_file_serves_as_weights_directly(small: Reference, tmp_path: Path) -> None:
    trunk = load_encoder(str(saved(small.state_dict(), tmp_path)))
    assert (trunk.backbone, trunk.num_features) == ("soundingearth-resnet18", 512)
    assert trunk.projection is not None
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (trunk.mean, trunk.std))
    embeddings = trunk.projection(trunk.module.eval()((IMAGES / 255 - mean) / std))
    torch.testing.assert_close(embeddings, small.embed()[0], rtol=1e-4, atol=1e-4)
    assert "the authors' image tower (soundingearth-resnet18)" in trunk.report


def test_a_learned_temperature_means_embeddings_of_length_one(small: Reference, tmp_path: Path) -> None:
    file = saved({**small.state_dict(), "loss_function.tau": torch.ones([])}, tmp_path)
    report = convert_authors_checkpoint(file, tmp_path / "out")
    assert "1 unused: `loss_function.tau`" in report
    assert TwoTower.from_pretrained(tmp_path / "out").config.on_sphere
    convert_authors_checkpoint(file, tmp_path / "flat", on_sphere=False)
    assert not TwoTower.from_pretrained(tmp_path / "flat").config.on_sphere


def test_what_does_not_fit_is_refused_by_name(small: Reference, tmp_path: Path) -> None:
    state = small.state_dict()

    def sentence(changed: dict[str, Tensor]) -> str:
        with pytest.raises(UserError) as caught:
            convert_authors_checkpoint(saved(changed, tmp_path), tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    without_sound = {name: value for name, value in state.items() if not name.startswith("snd")}
    assert "lacks snd_encoder.module_list.0.conv1.weight" in sentence(without_sound)
    assert "none of its tensor names starts with img_encoder" in sentence({"conv1.weight": torch.zeros(64, 3, 7, 7)})
    # Widths that the authors' public code had at another time.
    name = "img_encoder.module_list.0.layer2.0.conv1.weight"
    assert "its stem and stages have 32, 64, 64, 256, 512 channels" in sentence({**state, name: state[name][:64]})
    name = "img_encoder.module_list.0.layer3.1.bn2.weight"
    assert "layer3.1.bn2.weight" in sentence({**state, name: state[name][:5]})
    del state[name]
    assert "layer3.1.bn2.weight" in sentence(state)


def test_counters_that_old_files_lack_are_not_needed(small: Reference, tmp_path: Path) -> None:
    state = {name: value for name, value in small.state_dict().items() if not name.endswith("num_batches_tracked")}
    convert_authors_checkpoint(saved(state, tmp_path), tmp_path / "out")
    with torch.no_grad():
        embeddings = TwoTower.from_pretrained(tmp_path / "out").encode_image(IMAGES)
        torch.testing.assert_close(embeddings, small.embed()[0], rtol=1e-4, atol=1e-4)
