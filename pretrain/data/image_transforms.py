"""Stored images → network inputs: random views for training, the central view for evaluation."""

from __future__ import annotations

import abc
import math
import random
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pretrain.model_config import CENTRAL_FRACTION
from pretrain.settings.pretraining import DataSettings
from shards.decoding.jpeg_parts import Box
from shards.streaming.reading import StoredSample

if TYPE_CHECKING:
    import albumentations as A


WIDEST = 4 / 3
"""The largest aspect ratio of a crop that is drawn by its area."""
CROP_TRIES = 10


def crop_of_area(height: int, width: int, fractions: tuple[float, float], generator: random.Random) -> Box:
    """A random part of an image, as torchvision's and albumentations' RandomResizedCrop draw it.

    Its area is uniform between two fractions of the image's, its aspect ratio log-uniform between 3:4 and 4:3. Where
    none of `CROP_TRIES` draws fits, it is the largest central part of such a ratio.
    """
    for _ in range(CROP_TRIES):
        area = height * width * generator.uniform(*fractions)
        aspect = WIDEST ** generator.uniform(-1, 1)
        tall, wide = max(1, round(math.sqrt(area / aspect))), max(1, round(math.sqrt(area * aspect)))
        if tall <= height and wide <= width:
            return Box(generator.randint(0, height - tall), generator.randint(0, width - wide), tall, wide)
    tall, wide = min(height, math.ceil(width * WIDEST)), min(width, math.ceil(height * WIDEST))
    return Box((height - tall) // 2, (width - wide) // 2, tall, wide)


class ImageView(abc.ABC):
    """A random view of an image; which part of it is shown is known before the image is decoded.

    albumentations is imported by the processes that make views, not by those that only hand them on.
    """

    @abc.abstractmethod
    def augmentation(self) -> A.Compose:
        """What turns the part into a view of its size."""

    @cached_property
    def _transform(self) -> A.Compose:
        return self.augmentation()

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
    512 are 3/8 to 3/4), or a crop of a fraction of its area as in the authors' code, resized, then random rotation,
    blur, hue, saturation and value. The same seed gives the same view in any process. Which crop it will be is known
    before the image is decoded.
    """

    def __init__(self, settings: DataSettings) -> None:
        self._settings = settings

    @override
    def augmentation(self) -> A.Compose:
        from pretrain.data.augmentations import paper_augmentation

        return paper_augmentation(self._settings)

    @override
    def crop(self, height: int, width: int, seed: int) -> Box:
        generator, settings, shorter = random.Random(seed), self._settings, min(height, width)
        if settings.crop_by == "area":
            return crop_of_area(height, width, (settings.crop_min, settings.crop_max), generator)
        side = generator.randint(*(max(1, round(part * shorter)) for part in (settings.crop_min, settings.crop_max)))
        return Box(generator.randint(0, height - side), generator.randint(0, width - side), side, side)


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
