"""Stored images → network inputs: random views for training, the central view for evaluation."""

from __future__ import annotations

import abc
import math
import os
import random

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

# By default albumentations checks for its newest version online when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

from pretrain.model_config import CENTRAL_FRACTION
from pretrain.settings.pretraining import DataSettings
from shards.decoding.jpeg_parts import Box
from shards.streaming.reading import StoredSample

BLUR_KERNEL_PIXELS = (3, 5)
MOST_REDUCTION = 2
"""By how much a crop is reduced while it is rotated; bilinear interpolation would skip pixels beyond."""


class ImageView(abc.ABC):
    """A random view of an image; which part of it is shown is known before the image is decoded.

    Args:
        transform: of the part, to the size of the view.
    """

    def __init__(self, transform: A.Compose) -> None:
        self._transform = transform

    @abc.abstractmethod
    def crop(self, height: int, width: int, seed: int) -> Box:
        """The part of a stored image of this shape that the view shows."""

    def of_crop(self, pixels: NDArray[np.uint8], seed: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The view of what `crop` chose, (height, width, 3) uint8 → (3, size, size) uint8, which is `out`."""
        # One state for all: under `set_random_seed` each transform would draw the same numbers as the others.
        self._transform.set_random_state(np.random.default_rng((seed, 1)), random.Random(f"{seed}/view"))
        view = self._transform(image=pixels)["image"]
        if out is None:
            out = np.empty((3, *view.shape[:2]), np.uint8)
        cv2.split(view, list(out))
        return out

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 → (3, size, size) uint8; `seed` fixes all that is random."""
        box = self.crop(image.shape[0], image.shape[1], seed)
        return self.of_crop(image[box.top : box.top + box.height, box.left : box.left + box.width], seed)

    def of_sample(self, sample: StoredSample, seed: int, out: NDArray[np.uint8]) -> None:
        """Writes the view of a stored image into `out`, decoding little more than the crop."""
        self.of_crop(sample.image_part(lambda height, width: self.crop(height, width, seed)), seed, out=out)


class RandomImageView(ImageView):
    """The paper's augmentations (SoundingEarth, section IV-A), by albumentations.

    A random square crop whose side is a fraction of the stored image's shorter side (the paper's 192-384 px of
    512 are 3/8 to 3/4), resized, then random rotation, blur, hue, saturation and value. The same seed gives the
    same view in any process. Which crop it will be is known before the image is decoded.
    """

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(
            A.Compose(
                [
                    *([A.RandomRotate90(p=1.0)] if settings.right_angles else []),
                    *([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)] if settings.flips else []),
                    RotatedResize(settings.image_size, settings.rotation_degrees),
                    A.GaussianBlur(blur_limit=BLUR_KERNEL_PIXELS, p=settings.blur_probability),
                    # OpenCV's 8-bit hue counts in steps of 2 degrees.
                    A.HueSaturationValue(
                        settings.hue_degrees / 2, 255 * settings.saturation, 255 * settings.value, p=1.0
                    ),
                ]
            )
        )
        self._settings = settings

    @override
    def crop(self, height: int, width: int, seed: int) -> Box:
        generator, settings, shorter = random.Random(seed), self._settings, min(height, width)
        side = generator.randint(*(max(1, round(part * shorter)) for part in (settings.crop_min, settings.crop_max)))
        return Box(generator.randint(0, height - side), generator.randint(0, width - side), side, side)


class RotatedResize(A.ImageOnlyTransform):
    """A square image turned by a random angle about its centre and brought to another size, in one interpolation.

    What the turned square does not cover is filled by reflection. Larger reductions than by `MOST_REDUCTION` begin
    with an average over the pixels.

    Args:
        size: side of the result in pixels.
        degrees: the angle is drawn uniformly from [-degrees, degrees].
    """

    def __init__(self, size: int, degrees: float) -> None:
        super().__init__(p=1.0)
        self.size = size
        self.degrees = degrees

    def get_params(self) -> dict[str, float]:
        """Draws the angle."""
        return {"angle": self.py_random.uniform(-self.degrees, self.degrees)}

    def apply(self, img: NDArray[np.uint8], angle: float, **_others: object) -> NDArray[np.uint8]:
        """(side, side, 3) uint8 → (size, size, 3) uint8."""
        if len(img) > MOST_REDUCTION * self.size:
            smaller = cv2.resize(img, (MOST_REDUCTION * self.size,) * 2, interpolation=cv2.INTER_AREA)
            img = smaller.astype(np.uint8, copy=False)
        side = len(img)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # Padded by reflection first: OpenCV's interpolation takes twice as long if it has to reflect.
        margin = math.ceil(side * (abs(cos) + abs(sin) - 1) / 2) + 1
        padded = cv2.copyMakeBorder(img, margin, margin, margin, margin, cv2.BORDER_REFLECT_101 | cv2.BORDER_ISOLATED)
        scale = side / self.size
        turn = scale * np.array([[cos, -sin], [sin, cos]])
        shift = margin + (side - 1) / 2 - turn.sum(axis=1) * (self.size - 1) / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = cv2.warpAffine(padded, np.column_stack([turn, shift]), (self.size,) * 2, flags=flags)
        return turned.astype(np.uint8, copy=False)


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
