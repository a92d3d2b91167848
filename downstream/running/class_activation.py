"""Class activation maps: evidence for each class by location in the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from downstream.running.heads import SceneClassifier
from downstream.running.images import ImageView
from downstream.running.items import SceneItem
from downstream.running.map_exhibits import MAP_PIXELS, DrawnMap, write_maps
from downstream.running.pictures import INK, RIGHT_COLOUR, SOFT, WRONG_COLOUR, save_figure, shortened
from pretrain.activation_maps import averaged_map, overlay
from pretrain.encoders.projection import linear_projection
from pretrain.weights.encoder_weights import LoadedEncoder
from shards.errors import RejectedPair

EXPLAIN_FOLDER = "explain"
IMAGES_OF_SHEET = 12
CARD_COLUMNS = 2
VIEW_PIXELS = 256
MAPS_ON_EMBEDDING = "class activation maps on the embedding"


@dataclass(frozen=True)
class Activations:
    """Class activation maps of some images.

    Attributes:
        maps: (n, classes, height, width): the mean over the places plus the class's `bias` is its logit.
        bias: (n, classes): the part of the logit that no place has.
        logits: (n, classes), as the classifier gives them.
    """

    maps: NDArray[np.float32]
    bias: NDArray[np.float32]
    logits: NDArray[np.float32]


def check_explainable(encoder: LoadedEncoder, image_size: int, *, on_embedding: bool) -> None:
    """Rejects an encoder that has no class activation maps, before it is trained.

    Args:
        encoder: with any weights.
        image_size: side of its inputs in pixels.
        on_embedding: whether the classifier is on the embedding instead of the features.

    Raises:
        UserError: the encoder's features are not the mean of a feature map, or the projection is not linear.
    """
    noise = torch.randn(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    averaged_map(encoder.module.eval(), noise)
    if on_embedding and encoder.projection is not None:
        linear_projection(encoder.projection, MAPS_ON_EMBEDDING)


@torch.inference_mode()
def class_activations(module: SceneClassifier, images: Tensor) -> Activations:
    """The class activation maps of images.

    Behind the encoder's last feature map F (channels × places) come the mean over the places, the projection P, p where
    the head sits on the embedding, and the head H, h. All three are linear, so they compose, and the logit of class c
    is the mean over the places of (H P F)_c plus (H p + h)_c: the map of c is (H P F)_c, in units of the logit. Without
    a projection P is the identity and p is 0. Where the embedding is brought to length 1, the map and H p are divided
    by the length that it had.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, section 2, Eq. 2; maps there
    are sums over channels with the weights of the class, as here, and leave the bias out.

    Args:
        module: the classifier; it is run in evaluation mode.
        images: (n, 3, height, width) uint8, on the module's device.

    Raises:
        UserError: the encoder's features are not the mean of a feature map, or the projection is not linear.
    """
    features, logits = _features_and_logits(module, images)
    head, bias = module.head.weight.float(), module.head.bias.float().expand(len(images), -1)
    weight = head
    lengths = torch.ones(len(images), 1, device=images.device)
    if not isinstance(module.projection, nn.Identity):
        projection = linear_projection(module.projection, MAPS_ON_EMBEDDING).float()
        if module.on_sphere:
            lengths = projection(features.mean((2, 3))).norm(dim=1, keepdim=True)
        bias = head @ projection.bias / lengths + bias
        weight = head @ projection.weight
    maps = torch.einsum("cf,nfyx->ncyx", weight, features) / lengths[:, :, None, None]
    return Activations(maps.cpu().numpy(), bias.cpu().numpy(), logits.cpu().numpy())


def _features_and_logits(module: SceneClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """The feature map before the pooling, (n, channels, height, width), and the logits, both float32."""
    was_training = module.training
    try:
        logits = module.eval()({"image": images})["logits"]
        features = averaged_map(module.trunk, module.normalised(images))
    finally:
        module.train(was_training)
    return features, logits.float()


def chosen_items(num_items: int, n: int) -> list[int]:
    """Up to `n` evenly spaced indices, so that a list sorted by class yields some of each."""
    return sorted({int(i) for i in np.linspace(0, num_items - 1, min(n, num_items)).round()})


def write_activation_maps(
    folder: Path,
    module: SceneClassifier | Callable[[SceneItem], SceneClassifier],
    items: Sequence[SceneItem],
    view: ImageView,
    classes: Sequence[str],
    n: int,
    device: torch.device,
) -> list[Path]:
    """Writes sheets of test images with the maps of their class and of the predicted class.

    Args:
        folder: the run folder; sheets of `IMAGES_OF_SHEET` images are written to `explain/sheet_001.png` and so on, and
            each image with the map of its class to `explain/maps/`, for `downstream.running.map_exhibits`.
        module: the classifier, or a function that returns the classifier for an item.
        items: the test items, of which evenly spaced ones are drawn.
        view: preprocessing of an image.
        classes: class names.
        n: number of images to draw; 0 writes nothing.
        device: the module's device.

    Returns:
        The paths of the sheets.
    """
    chosen = [items[i] for i in chosen_items(len(items), n)] if n and items else []
    written, drawn = [], []
    for start in range(0, len(chosen), IMAGES_OF_SHEET):
        cards = [
            _card(module if isinstance(module, SceneClassifier) else module(item), item, view, device)
            for item in chosen[start : start + IMAGES_OF_SHEET]
        ]
        target = folder / EXPLAIN_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        readable = [card for card in cards if card is not None]
        drawn += [_drawn_map(card, classes) for card in readable]
        sheet = _draw_sheet(readable, classes)
        written.append(save_figure(sheet, target / f"sheet_{start // IMAGES_OF_SHEET + 1:03d}.png"))
    if drawn:
        write_maps(folder / EXPLAIN_FOLDER, drawn)
    return written


def _drawn_map(card: _Card, classes: Sequence[str]) -> DrawnMap:
    """The map of an image's own class, on a scale of its own."""
    label = card.item.label
    image = cv2.resize(card.seen, (MAP_PIXELS, MAP_PIXELS), interpolation=cv2.INTER_AREA).astype(np.uint8)
    of_class = overlay(image, card.maps[label], float(card.maps[label].max()))
    return DrawnMap(card.item.key, classes[label], float(card.probabilities[label]), image, of_class)


@dataclass(frozen=True)
class _Card:
    """One image of a sheet.

    Attributes:
        item: the image's item.
        seen: (side, side, 3) uint8, as the classifier sees it.
        maps: (classes, height, width).
        probabilities: (classes,).
    """

    item: SceneItem
    seen: NDArray[np.uint8]
    maps: NDArray[np.float32]
    probabilities: NDArray[np.float32]


def _card(module: SceneClassifier, item: SceneItem, view: ImageView, device: torch.device) -> _Card | None:
    try:
        pixels = view(item.load(), 0)
    except RejectedPair:
        return None
    activations = class_activations(module, torch.from_numpy(pixels[None]).to(device))
    odds = np.exp(activations.logits[0] - activations.logits[0].max())
    seen = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return _Card(item, seen, activations.maps[0], odds / odds.sum())


def _draw_sheet(cards: Sequence[_Card], classes: Sequence[str]) -> Figure:
    side, gap, card_height = 1.75, 0.07, 2.3
    card_width = 3 * (side + gap) + 0.3
    lines = -(-len(cards) // CARD_COLUMNS)
    width, height = CARD_COLUMNS * card_width + 0.15, lines * card_height + 0.85
    figure = Figure(figsize=(width, height))
    figure.text(
        0.15 / width, 1 - 0.2 / height, "Class activation maps", fontsize=13, weight="bold", color=INK, va="top"
    )
    explanation = (
        "For each image: the input, the map of its class and, if wrong, the map of the predicted class. "
        "The maps of an image share one scale; regions without evidence for the class are not coloured."
    )
    figure.text(0.15 / width, 1 - 0.47 / height, explanation, fontsize=8, color=SOFT, va="top")
    for number, card in enumerate(cards):
        line, column = divmod(number, CARD_COLUMNS)
        left, top = 0.15 + column * card_width, 0.75 + line * card_height
        best, label = int(card.probabilities.argmax()), card.item.label
        strongest = float(max(card.maps[best].max(), card.maps[label].max()))
        image = cv2.resize(card.seen, (VIEW_PIXELS, VIEW_PIXELS), interpolation=cv2.INTER_AREA).astype(np.uint8)
        right = best == label
        panels = [
            (image, shortened(card.item.path.name, 30), SOFT),
            _panel(card, label, classes, image, strongest, True),
        ]
        if not right:
            panels.append(_panel(card, best, classes, image, strongest, False))
        for place, (pixels, caption, colour) in enumerate(panels):
            x = left + place * (side + gap)
            axes = figure.add_axes((x / width, 1 - (top + side) / height, side / width, side / height))
            axes.axis("off")
            axes.imshow(pixels, aspect="auto")
            size = 6.2 if place == 0 else 7.8
            figure.text(x / width, 1 - (top + side + 0.13) / height, caption, fontsize=size, color=colour, va="center")
    return figure


def _panel(
    card: _Card, label: int, classes: Sequence[str], image: NDArray[np.uint8], strongest: float, right: bool
) -> tuple[NDArray[np.uint8], str, str]:
    name = f"{shortened(classes[label])} {card.probabilities[label]:.0%}"
    caption, colour = (name, RIGHT_COLOUR) if right else (f"predicted {name}", WRONG_COLOUR)
    return overlay(image, card.maps[label], strongest), caption, colour
