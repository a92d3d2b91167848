"""Strong random views of an image, for methods that learn from which two views show the same one."""

from __future__ import annotations

import math
import random

from typing_extensions import override

from pretrain.data.image_transforms import A, ImageView, cv2
from pretrain.settings.pretraining import StrongViewSettings
from shards.decoding.jpeg_parts import Box

WIDEST = 4 / 3
"""Sides of a crop are at most so far from each other."""
CROP_TRIES = 10
LEAST_BLUR, MOST_BLUR, BLUR_AT_SIDE = 0.1, 2.0, 224
"""Standard deviations in pixels, at this side of the view."""


class StrongImageView(ImageView):
    """The augmentation of SimCLR (Chen et al., ICML 2020, appendix A), by albumentations, and vertical flips.

    A random part of the image, resized, then flips in both axes, for an overhead image has no up, colour jitter, loss
    of colour and blur. The same seed gives the same view in any process. Which part it will be is known before the
    image is decoded.

    Args:
        settings: how strong.
        image_size: side of a view in pixels.
    """

    def __init__(self, settings: StrongViewSettings, image_size: int) -> None:
        sigmas = tuple(sigma * image_size / BLUR_AT_SIDE for sigma in (LEAST_BLUR, MOST_BLUR))
        transform = A.Compose(
            [
                A.Resize(image_size, image_size, interpolation=cv2.INTER_LINEAR, area_for_downscale="image"),
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.5),
                A.ColorJitter(
                    brightness=settings.brightness,
                    contrast=settings.contrast,
                    saturation=settings.saturation,
                    hue=settings.hue_degrees / 360,
                    p=settings.jitter_probability,
                ),
                A.ToGray(p=settings.grey_probability),
                A.GaussianBlur(sigma_limit=sigmas, p=settings.blur_probability),
            ]
        )
        super().__init__(transform)
        self._least_area = settings.crop_area_min

    @override
    def crop(self, height: int, width: int, seed: int) -> Box:
        """A part of at least the set area whose sides are up to 4:3; the largest one in the middle where none fits."""
        generator = random.Random(seed)
        for _ in range(CROP_TRIES):
            area = height * width * generator.uniform(self._least_area, 1)
            aspect = WIDEST ** generator.uniform(-1, 1)
            tall, wide = max(1, round(math.sqrt(area / aspect))), max(1, round(math.sqrt(area * aspect)))
            if tall <= height and wide <= width:
                return Box(generator.randint(0, height - tall), generator.randint(0, width - wide), tall, wide)
        tall, wide = min(height, math.ceil(width * WIDEST)), min(width, math.ceil(height * WIDEST))
        return Box((height - tall) // 2, (width - wide) // 2, tall, wide)
