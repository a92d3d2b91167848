"""How a picture of a street is seen: at random in training, its central square in evaluation."""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# By default albumentations checks for its newest version online when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

from downstream.running.views import SeededView

AREA, ASPECT_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of a random crop: torchvision's defaults, as the paper names its transform and no numbers."""

BRIGHTNESS = CONTRAST = SATURATION = 0.4
HUE = 0.05
JITTERED_SHARE = 0.8


class RandomStreetView(SeededView):
    """RandomResizedCrop, RandomHorizontalFlip and ColorJitter (Chen et al., 2022, section 3.2), by albumentations.

    The same seed gives the same view in any process.

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
                    A.HorizontalFlip(p=0.5),
                    A.ColorJitter(BRIGHTNESS, CONTRAST, SATURATION, HUE, p=JITTERED_SHARE),
                ]
            )
        )


@dataclass(frozen=True)
class CentralSquare:
    """The central square of the full shorter side, resized to `image_size`."""

    image_size: int

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:  # noqa: ARG002  # nothing is random
        """(height, width, 3) uint8 → (3, image_size, image_size) uint8."""
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        interpolation = cv2.INTER_AREA if side > self.image_size else cv2.INTER_LINEAR
        resized = cv2.resize(square, (self.image_size, self.image_size), interpolation=interpolation)
        return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.uint8)
