"""Random augmentations by albumentations, determined by a seed."""

from __future__ import annotations

import os
import random

import numpy as np
from numpy.typing import NDArray

# By default albumentations checks for its newest version online when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

BRIGHTNESS = CONTRAST = SATURATION = 0.2
HUE = 0.02


class SeededView:
    """A view by albumentations; equal seeds give equal views in any process.

    Args:
        transform: to a square of `image_size`.
    """

    def __init__(self, transform: A.Compose) -> None:
        self._transform = transform

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 → (3, image_size, image_size) uint8; `seed` determines all randomness."""
        # A shared random state, because with `set_random_seed` all transforms would draw the same numbers.
        self._transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        view = self._transform(image=image)["image"]
        return np.ascontiguousarray(view.transpose(2, 0, 1))
