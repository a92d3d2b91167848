"""Class activation maps add up to the logits, and the pictures of a test part show what they should."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from downstream.running.class_activation import chosen_items, class_activations, write_activation_maps
from downstream.running.heads import SceneClassifier
from downstream.running.images import WholeImage
from downstream.running.items import SceneItem
from downstream.running.pictures import worst_mistakes, write_pictures
from pretrain.activation_maps import overlay
from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import Encoder
from pretrain.weights.encoder_weights import LoadedEncoder
from shards.errors import UserError

CLASSES = ["beach", "forest", "town"]


def classifier(*, on_embedding: bool, on_sphere: bool = False) -> SceneClassifier:
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", channels=3)
    projection = nn.Linear(encoder.num_features, 16)
    weights = LoadedEncoder(encoder, 512, "resnet18", "random", projection=projection, on_sphere=on_sphere)
    return SceneClassifier(weights, 3, on_embedding=on_embedding)


@pytest.mark.parametrize(("on_embedding", "on_sphere"), [(False, False), (True, False), (True, True)])
def test_the_mean_of_a_map_is_the_logit_without_its_bias(on_embedding: bool, on_sphere: bool) -> None:
    module = classifier(on_embedding=on_embedding, on_sphere=on_sphere)
    images = torch.randint(0, 256, (4, 3, 64, 96), dtype=torch.uint8)
    found = class_activations(module, images)
    assert found.maps.shape == (4, 3, 2, 3)
    np.testing.assert_allclose(found.maps.mean((2, 3)), found.logits - found.bias, rtol=1e-4, atol=1e-5)
    # A bias that is left out would be noticed: with the embedding it is more than the head's own.
    assert np.abs(found.bias).max() > 1e-3
    with torch.inference_mode():
        np.testing.assert_allclose(module.eval()({"image": images})["logits"].numpy(), found.logits, rtol=1e-5)


def test_a_classifier_is_left_as_it_was() -> None:
    module = classifier(on_embedding=True).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    class_activations(module, torch.zeros((1, 3, 64, 64), dtype=torch.uint8))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class MostActive(Encoder):
    """Its features are the maxima of its map, not the means."""

    num_features = 512

    def feature_map(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :1].expand(-1, 512, -1, -1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.feature_map(inputs).amax((2, 3))


def test_an_encoder_that_does_not_average_its_map_is_refused() -> None:
    module = classifier(on_embedding=False)
    module.trunk = MostActive()
    with pytest.raises(UserError, match="features are the mean of its feature map; MostActive adds more"):
        class_activations(module, torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8))


def test_an_encoder_without_a_feature_map_is_refused() -> None:
    module = classifier(on_embedding=False)
    module.trunk = build_encoder("timm:mixer_s32_224", channels=3, input_size=(64, 64))
    with pytest.raises(UserError, match="timm:mixer_s32_224 has no feature map"):
        class_activations(module, torch.zeros((1, 3, 64, 64), dtype=torch.uint8))


def test_only_what_speaks_for_a_class_glows() -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    shown = overlay(image, np.array([[1.0, -1.0], [0.0, 0.5]], np.float32), 1.0)
    assert (shown[48, 0] == 120).all()
    assert (shown[0, 63] == 120).all()
    assert shown[0, 0].astype(int).max() > 200


def test_evenly_spaced_items_are_drawn() -> None:
    assert chosen_items(10, 4) == [0, 3, 6, 9]
    assert chosen_items(3, 100) == [0, 1, 2]
    assert chosen_items(7, 1) == [0]


@pytest.fixture
def items(tmp_path: Path) -> list[SceneItem]:
    """Seven images of three classes."""
    generator = np.random.default_rng(0)
    found = []
    for i in range(7):
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
        found.append(SceneItem(f"{CLASSES[i % 3]}/{i}.png", path, i % 3))
    return found


def test_sheets_of_maps_are_written(tmp_path: Path, items: list[SceneItem]) -> None:
    module, view = classifier(on_embedding=True), WholeImage(64)
    assert write_activation_maps(tmp_path, module, items, view, CLASSES, 0, torch.device("cpu")) == []
    written = write_activation_maps(tmp_path, module, items, view, CLASSES, 3, torch.device("cpu"))
    assert [path.relative_to(tmp_path).as_posix() for path in written] == ["explain/sheet_001.png"]
    assert np.asarray(Image.open(written[0])).std() > 20
    # Beside the sheets, each image with the map of its own class and that class's probability.
    folder = tmp_path / "explain" / "maps"
    records = json.loads((folder / "maps.json").read_text())
    chosen = [items[0], items[3], items[6]]
    assert [(record["key"], record["label"]) for record in records] == [(i.key, CLASSES[i.label]) for i in chosen]
    for number, (item, record) in enumerate(zip(chosen, records, strict=True), 1):
        pixels = torch.from_numpy(view(item.load(), 0))[None]
        activations = class_activations(module, pixels)
        assert record["probability"] == pytest.approx(
            torch.tensor(activations.logits[0]).softmax(0)[item.label].item(), rel=1e-5
        )
        image, shown = (np.asarray(Image.open(folder / f"{number:03d}_{part}.png")) for part in ("image", "map"))
        seen = cv2.resize(pixels[0].permute(1, 2, 0).numpy(), (160, 160), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(image, seen)
        of_class = activations.maps[0, item.label]
        np.testing.assert_array_equal(shown, overlay(image, of_class, float(of_class.max())))


def test_mistakes_come_most_confident_first() -> None:
    truth = np.array([0, 1, 2, 0])
    probabilities = np.array([[0.1, 0.8, 0.1], [0.0, 1.0, 0.0], [0.9, 0.1, 0.0], [0.4, 0.6, 0.0]], np.float32)
    assert worst_mistakes(truth, probabilities, 10) == [2, 0, 3]
    assert worst_mistakes(truth, probabilities, 1) == [2]


def test_pictures_of_a_test_part(tmp_path: Path, items: list[SceneItem]) -> None:
    right = np.eye(3, dtype=np.float32)[[item.label for item in items]]
    assert [path.name for path in write_pictures(tmp_path / "right", items, CLASSES, right)] == ["confusion_matrix.png"]
    wrong = right[:, [1, 0, 2]]
    written = write_pictures(tmp_path / "wrong", items, CLASSES, wrong)
    assert [path.name for path in written] == ["confusion_matrix.png", "mistakes.png"]
    again = write_pictures(tmp_path / "again", items, CLASSES, wrong)
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
