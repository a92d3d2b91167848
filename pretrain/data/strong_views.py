"""Strong random views of an image, for methods that learn from which two views show the same one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from typing_extensions import override

from pretrain.data.image_transforms import ImageView, crop_of_area
from pretrain.settings.pretraining import StrongViewSettings
from shards.decoding.jpeg_parts import Box

if TYPE_CHECKING:
    import albumentations as A


class StrongImageView(ImageView):
    """The augmentation of SimCLR (Chen et al., ICML 2020, appendix A), by albumentations, and vertical flips.

    A random part of the image, resized, then flips in both axes, for an overhead image has no up, colour jitter, loss
    of colour and blur; settings make it that of MoCo v1, which has no blur. The same seed gives the same view in any
    process. Which part it will be is known before the image is decoded.

    Args:
        settings: how strong.
        image_size: side of a view in pixels.
    """

    def __init__(self, settings: StrongViewSettings, image_size: int) -> None:
        self._settings = settings
        self._image_size = image_size

    @override
    def augmentation(self) -> A.Compose:
        from pretrain.data.augmentations import simclr_augmentation

        return simclr_augmentation(self._settings, self._image_size)

    @override
    def crop(self, height: int, width: int, seed: int) -> Box:
        """A part of at least the set area whose sides are up to 4:3; the largest one in the middle where none fits."""
        return crop_of_area(height, width, (self._settings.crop_area_min, 1), random.Random(seed))
