"""Pictures of land-cover maps: tile, truth and prediction side by side, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from downstream.landcover.benchmark import Colour
from downstream.landcover.scores import accuracy, class_ious
from downstream.landcover.tiles import TileImage
from downstream.running.confusion_picture import DARK_SHARE, SCALE

PANEL_SIDE = 800
"""Longer side of a panel in pixels, at most; tiles are never enlarged beyond `LEAST_SIDE`."""
LEAST_SIDE = 360
LEAST_WIDTH = 960
"""Of the three panels, so that the legend has room beneath them."""
MARGIN, GAP = 24, 16
TITLE_HEIGHT, CAPTION_HEIGHT, LEGEND_HEIGHT = 44, 30, 66
COLOUR_SHARE = 0.6
"""How much of a class's colour an overlay shows; the rest is the tile in grey."""
DARKEST_GREY, GREY_CONTRAST = 40, 0.7
CELL_SIDE, LABEL_WIDTH, HEADING_HEIGHT = 100, 150, 44
BAR_HEIGHT, BAR_PIXELS = 84, 360
INK, FAINT, PAPER = (28, 32, 38), (104, 110, 120), (255, 255, 255)
UNKNOWN_STRIPES = (150, 40, 40)


def draw_tile(
    key: str,
    image: TileImage,
    predicted: NDArray[np.uint8],
    confusion: NDArray[np.int64],
    classes: Mapping[str, Colour],
) -> Image.Image:
    """A picture of a tile, its mask and its predicted map; the legend gives each class's IoU on this tile.

    Args:
        key: the tile's id.
        image: the tile.
        predicted: (h, w) uint8 labels of the whole tile, at any size.
        confusion: (classes, classes) of the tile, see `downstream.landcover.scores`.
        classes: the colour of each class.
    """
    size = _panel_size(*image.labels.shape)
    panels = draw_panels(image, predicted, classes, size)
    width, height = size
    picture = Image.new(
        "RGB",
        (
            2 * MARGIN + max(LEAST_WIDTH, len(panels) * width + (len(panels) - 1) * GAP),
            2 * MARGIN + TITLE_HEIGHT + CAPTION_HEIGHT + height + LEGEND_HEIGHT,
        ),
        PAPER,
    )
    pen = ImageDraw.Draw(picture)
    share = accuracy(confusion)
    title = f"tile {key}" + (f"   ·   accuracy {share:.3f}" if share is not None else "   ·   no known pixels")
    pen.text((MARGIN, MARGIN), title, INK, _font(26))
    top = MARGIN + TITLE_HEIGHT + CAPTION_HEIGHT
    for number, (caption, panel) in enumerate(panels.items()):
        left = MARGIN + number * (width + GAP)
        pen.text((left, top - CAPTION_HEIGHT), caption, FAINT, _font(20))
        picture.paste(Image.fromarray(panel), (left, top))
    present = np.unique(np.concatenate([labels.ravel() for labels in _labels_at(image, predicted, size)]))
    _legend(pen, (MARGIN, top + height + GAP), picture.width - 2 * MARGIN, classes, class_ious(confusion), present)
    return picture


def draw_panels(
    image: TileImage, predicted: NDArray[np.uint8], classes: Mapping[str, Colour], size: tuple[int, int]
) -> dict[str, NDArray[np.uint8]]:
    """A tile, its mask and its predicted map as pictures of (width, height), each (height, width, 3) uint8."""
    rgb = cv2.resize(image.rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    truth, mapped = _labels_at(image, predicted, size)
    palette = np.array(list(classes.values()), dtype=np.float32)
    return {"tile": rgb, "truth": _overlay(rgb, truth, palette), "prediction": _overlay(rgb, mapped, palette)}


def _labels_at(image: TileImage, predicted: NDArray[np.uint8], size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """The mask and the predicted labels at a size, (width, height)."""
    both = (image.labels, predicted)
    return [cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8) for labels in both]


def draw_class_confusion(confusion: NDArray[np.int64], classes: Mapping[str, Colour]) -> Image.Image:
    """Confusion matrix in percent of the pixels of each class, with the IoU of each class.

    Args:
        confusion: (classes, classes), see `downstream.landcover.scores`.
        classes: the colour of each class.
    """
    names, side, label = list(classes), CELL_SIDE, LABEL_WIDTH
    totals, ious = confusion.sum(1), class_ious(confusion)
    left, top = MARGIN + label, MARGIN + TITLE_HEIGHT + HEADING_HEIGHT
    size = (left + (len(names) + 1) * side + MARGIN, top + len(names) * side + BAR_HEIGHT + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    share = accuracy(confusion)
    known = f"{int(totals.sum()):,} known pixels"
    title = known if share is None else f"{share:.1%} of {known} correct"
    pen.text((MARGIN, MARGIN), title, INK, _font(26))
    pen.text((left - 16, top - 12), "predicted", FAINT, _font(16), anchor="rs")
    for column, heading in enumerate((*names, "IoU")):
        pen.text((left + (column + 0.5) * side, top - 12), heading, FAINT, _font(16), anchor="ms")
    for row, (name, colour) in enumerate(classes.items()):
        middle = top + (row + 0.5) * side
        pen.rectangle((MARGIN, middle - 12, MARGIN + 24, middle + 12), fill=as_overlaid(colour), outline=INK)
        pen.text((MARGIN + 36, middle), name, INK, _font(18), anchor="lm")
        for column in range(len(names)):
            part = confusion[row, column] / totals[row] if totals[row] else 0.0
            cell = (left + column * side, top + row * side, left + (column + 1) * side, top + (row + 1) * side)
            pen.rectangle(cell, fill=_tint(part), outline=INK if row == column else PAPER, width=2)
            if part:
                ink = PAPER if part > DARK_SHARE else INK
                text = f"{part:.0%}" if part >= 0.005 else "<1%"
                pen.text((cell[0] + side / 2, middle), text, ink, _font(19), anchor="mm")
        iou = "absent" if ious[row] is None else f"{ious[row]:.3f}"
        pen.text((left + (len(names) + 0.5) * side, middle), iou, INK, _font(18), anchor="mm")
    _colour_bar(pen, left, top + len(names) * side + 44)
    return picture


def _tint(share: float) -> Colour:
    """The colour of a share of a class, on the scale of all confusion matrices."""
    red, green, blue, _ = SCALE(share, bytes=True)
    return int(red), int(green), int(blue)


def _colour_bar(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    """The scale, from 0 to 1, with its words."""
    for step in range(BAR_PIXELS):
        pen.line((left + step, top, left + step, top + 12), _tint(step / (BAR_PIXELS - 1)))
    pen.rectangle((left, top, left + BAR_PIXELS, top + 12), outline=FAINT)
    for share in (0, 0.5, 1):
        pen.text((left + share * BAR_PIXELS, top + 18), f"{share:g}", FAINT, _font(14), anchor="mt")
    pen.text((left, top - 8), "share of the pixels of a class (row); frame: correct", FAINT, _font(14), anchor="ls")


def spread_by_accuracy(accuracies: Sequence[float | None], count: int) -> list[int]:
    """Up to `count` numbers of tiles, evenly from the least to the most accurate; those without accuracy are last."""
    ordered = sorted(range(len(accuracies)), key=lambda i: (accuracies[i] is None, accuracies[i] or 0.0))
    if len(ordered) <= count:
        return ordered
    return [ordered[round(position)] for position in np.linspace(0, len(ordered) - 1, count)]


def _panel_size(height: int, width: int) -> tuple[int, int]:
    longer = max(height, width)
    scale = min(max(longer, LEAST_SIDE), PANEL_SIDE) / longer
    return max(1, round(width * scale)), max(1, round(height * scale))


def _overlay(rgb: NDArray[np.uint8], labels: NDArray[np.uint8], palette: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Classes in colour over the grey tile, with borders; unknown pixels are striped."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    # Without its extremes, so that a colour is the same in shadow and in light.
    grey = DARKEST_GREY + GREY_CONTRAST * grey
    known = labels < len(palette)
    colours = palette[np.where(known, labels, 0)]
    blended = np.where(known[..., None], COLOUR_SHARE * colours + (1 - COLOUR_SHARE) * grey, grey)
    rows, columns = np.indices(labels.shape)
    stripes = ~known & ((rows + columns) % 12 < 2)
    blended[stripes] = UNKNOWN_STRIPES
    border = np.zeros(labels.shape, dtype=bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    blended[border] *= 0.45
    return blended.clip(0, 255).astype(np.uint8)


def _legend(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    width: int,
    classes: Mapping[str, Colour],
    ious: Sequence[float | None],
    present: NDArray[np.uint8],
) -> None:
    """One swatch per class with name and IoU; absent classes are faint."""
    left, top = place
    step = width / (len(classes) + 1)
    entries = [
        *(
            (name, f"IoU {iou:.3f}" if iou is not None else "absent", colour, label in present)
            for label, ((name, colour), iou) in enumerate(zip(classes.items(), ious, strict=True))
        ),
        ("unknown", "not counted", None, bool((present >= len(classes)).any())),
    ]
    for number, (name, note, colour, is_present) in enumerate(entries):
        x = round(left + number * step)
        box = (x, top + 4, x + 30, top + 34)
        pen.rectangle(box, fill=as_overlaid(colour), outline=INK if is_present else FAINT)
        for offset in range(0, 30, 8) if colour is None else ():
            pen.line((x + offset, top + 34, x + offset + 6, top + 4), UNKNOWN_STRIPES, 2)
        pen.text((x + 40, top), name, INK if is_present else FAINT, _font(18))
        pen.text((x + 40, top + 21), note, FAINT, _font(15))


def as_overlaid(colour: Colour | None) -> Colour:
    """A class's colour as it looks over a middle grey; that grey where it is None."""
    grey = DARKEST_GREY + GREY_CONTRAST * 128
    red, green, blue = (round(COLOUR_SHARE * value + (1 - COLOUR_SHARE) * grey) for value in colour or (grey,) * 3)
    return red, green, blue


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
