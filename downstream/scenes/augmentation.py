"""Random views of labelled images for fine-tuning; evaluation sees the whole image."""

from __future__ import annotations

import os
import random

import numpy as np
from numpy.typing import NDArray

# albumentations asks the network for its newest version on import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

AREA = (0.5, 1.0)
"""Share of the image's area that a view shows; less could leave out what a scene is named after."""

ASPECT_RATIO = (3 / 4, 4 / 3)
BRIGHTNESS = CONTRAST = SATURATION = 0.2
HUE = 0.02
JITTERED_SHARE = 0.8


class SeededView:
    """What albumentations makes of an image; the same seed gives the same view in any process.

    Args:
        transform: to a square of `image_size`.
    """

    def __init__(self, transform: A.Compose) -> None:
        self._transform = transform

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 → (3, image_size, image_size) uint8; `seed` fixes all that is random."""
        # One state for all: under `set_random_seed` each transform would draw the same numbers as the others.
        self._transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        view = self._transform(image=image)["image"]
        return np.ascontiguousarray(view.transpose(2, 0, 1))


class RandomSceneView(SeededView):
    """A random part of an image, brought to a square, mirrored and turned by right angles, with jittered colours.

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
