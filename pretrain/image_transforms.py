"""Stored images → network inputs: random views for training, the central view for evaluation."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

# albumentations asks the network for its newest version on import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

from pretrain.config import DataSettings

CENTRAL_FRACTION = 0.75
"""Side of the view that evaluation sees, as a fraction of the stored image's shorter side."""

BLUR_KERNEL_PIXELS = (3, 5)


class RandomImageView:
    """The paper's augmentations (SoundingEarth, section IV-A), by albumentations.

    A random square crop whose side is a fraction of the stored image's shorter side (the paper's 192-384 px of
    512 are 3/8 to 3/4), resized, then random rotation, blur, hue, saturation and value. The same seed gives the
    same view in any process.
    """

    def __init__(self, settings: DataSettings) -> None:
        self._settings = settings
        self._by_side: dict[int, A.Compose] = {}

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 → (3, image_size, image_size) uint8; `seed` fixes all that is random."""
        transform = self._transform_for(min(image.shape[:2]))
        transform.set_random_seed(seed % 2**32)
        return np.ascontiguousarray(transform(image=image)["image"].transpose(2, 0, 1))

    def _transform_for(self, side: int) -> A.Compose:
        if side not in self._by_side:
            settings = self._settings
            crop_sides = (max(1, round(settings.crop_min * side)), max(1, round(settings.crop_max * side)))
            self._by_side[side] = A.Compose(
                [
                    A.RandomSizedCrop(crop_sides, (settings.image_size,) * 2, area_for_downscale="image"),
                    A.Rotate(settings.rotation_degrees, border_mode=cv2.BORDER_REFLECT_101, p=1.0),
                    A.GaussianBlur(blur_limit=BLUR_KERNEL_PIXELS, p=settings.blur_probability),
                    # OpenCV's 8-bit hue counts in steps of 2 degrees.
                    A.HueSaturationValue(
                        settings.hue_degrees / 2, 255 * settings.saturation, 255 * settings.value, p=1.0
                    ),
                ]
            )
        return self._by_side[side]


def evaluation_image(image: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """The central 3/4 of the image's shorter side, resized.

    Args:
        image: (height, width, 3) uint8 RGB.
        image_size: side of the result in pixels.

    Returns:
        (3, image_size, image_size) uint8.
    """
    height, width = image.shape[:2]
    side = max(1, round(CENTRAL_FRACTION * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    crop = image[top : top + side, left : left + side]
    interpolation = cv2.INTER_AREA if side >= image_size else cv2.INTER_LINEAR
    resized = cv2.resize(crop, (image_size, image_size), interpolation=interpolation)
    return np.ascontiguousarray(resized.transpose(2, 0, 1))
