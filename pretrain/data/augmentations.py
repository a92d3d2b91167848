"""What albumentations does to the chosen part of an image: SoundingEarth's augmentation, and SimCLR's."""

from __future__ import annotations

import math
import os

import cv2
import numpy as np
from numpy.typing import NDArray

# By default albumentations checks for its newest version online when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

from pretrain.settings.pretraining import DataSettings, StrongViewSettings

BLUR_KERNEL_PIXELS = (3, 5)
BOX_PIXELS = 3
MOST_REDUCTION = 2
"""By how much a crop is reduced while it is rotated; bilinear interpolation would skip pixels beyond."""
LEAST_BLUR, MOST_BLUR, BLUR_AT_SIDE = 0.1, 2.0, 224
"""SimCLR's standard deviations in pixels, at this side of the view."""


def paper_augmentation(settings: DataSettings) -> A.Compose:
    """Rotation, blur, hue, saturation and value (SoundingEarth, section IV-A), after right angles and flips.

    Crops that are drawn by their area go through the transforms of the authors' code in its order. Borders are
    reflected and the grid may leave the image, as by default in the albumentations of that time (2021).
    """
    size, degrees = settings.image_size, settings.rotation_degrees
    by_area = [A.Resize(size, size), A.Rotate(degrees, border_mode=cv2.BORDER_REFLECT_101, p=1.0)]
    grid = A.GridDistortion(
        normalized=False, border_mode=cv2.BORDER_REFLECT_101, p=settings.grid_distortion_probability
    )
    return A.Compose(
        [
            *([A.RandomRotate90(p=1.0)] if settings.right_angles else []),
            *([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)] if settings.flips else []),
            *(by_area if settings.crop_by == "area" else [RotatedResize(size, degrees)]),
            A.Blur(blur_limit=BOX_PIXELS, p=settings.blur_probability)
            if settings.blur == "box"
            else A.GaussianBlur(blur_limit=BLUR_KERNEL_PIXELS, p=settings.blur_probability),
            *([grid] if settings.grid_distortion_probability else []),
            # OpenCV's 8-bit hue counts in steps of 2 degrees.
            A.HueSaturationValue(
                settings.hue_degrees / 2, 255 * settings.saturation, 255 * settings.value, p=settings.colour_probability
            ),
        ]
    )


def simclr_augmentation(settings: StrongViewSettings, image_size: int) -> A.Compose:
    """Flips, colour jitter, loss of colour and blur (Chen et al., ICML 2020, appendix A), to this side in pixels."""
    sigmas = tuple(sigma * image_size / BLUR_AT_SIDE for sigma in (LEAST_BLUR, MOST_BLUR))
    jitter = A.ColorJitter(
        brightness=settings.brightness,
        contrast=settings.contrast,
        saturation=settings.saturation,
        hue=settings.hue_degrees / 360,
        p=settings.jitter_probability,
    )
    grey = A.ToGray(p=settings.grey_probability)
    return A.Compose(
        [
            A.Resize(image_size, image_size, interpolation=cv2.INTER_LINEAR, area_for_downscale="image"),
            A.HorizontalFlip(p=0.5),
            *([A.VerticalFlip(p=0.5)] if settings.vertical_flips else []),
            *((grey, jitter) if settings.grey_first else (jitter, grey)),
            A.GaussianBlur(sigma_limit=sigmas, p=settings.blur_probability),
        ]
    )


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
        # OpenCV's interpolation takes twice as long with three channels as with four, and longer if it has to reflect.
        margin = math.ceil(side * (abs(cos) + abs(sin) - 1) / 2) + 1
        opaque = cv2.cvtColor(img, cv2.COLOR_RGB2RGBA)
        border = cv2.BORDER_REFLECT_101 | cv2.BORDER_ISOLATED
        padded = cv2.copyMakeBorder(opaque, margin, margin, margin, margin, border)
        scale = side / self.size
        turn = scale * np.array([[cos, -sin], [sin, cos]])
        shift = margin + (side - 1) / 2 - turn.sum(axis=1) * (self.size - 1) / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = cv2.warpAffine(padded, np.column_stack([turn, shift]), (self.size,) * 2, flags=flags)
        return cv2.cvtColor(turned, cv2.COLOR_RGBA2RGB).astype(np.uint8, copy=False)
