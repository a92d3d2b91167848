"""Random views of labelled images for fine-tuning; evaluation uses the whole image."""

from __future__ import annotations

# Imported before albumentations, because it disables the check for a newer version.
from downstream.running.views import BRIGHTNESS, CONTRAST, HUE, SATURATION, SeededView

import albumentations as A  # isort: skip

AREA = (0.5, 1.0)
"""Smallest share of the image's area in a view; smaller ones could miss the labelled object."""

ASPECT_RATIO = (3 / 4, 4 / 3)
JITTERED_SHARE = 0.8


class RandomSceneView(SeededView):
    """A random crop resized to a square, flipped, rotated by right angles, with colour jitter.

    Nothing tells up from down in an overhead image, so all eight symmetries of the square are equally likely. The
    same seed gives the same view in any process.

    Args:
        image_size: side of the view in pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__(
            A.Compose(
                [
                    A.RandomResizedCrop(
                        (image_size, image_size), scale=AREA, ratio=ASPECT_RATIO, area_for_downscale="image"
                    ),
                    A.D4(p=1.0),
                    A.ColorJitter(BRIGHTNESS, CONTRAST, SATURATION, HUE, p=JITTERED_SHARE),
                ]
            )
        )
