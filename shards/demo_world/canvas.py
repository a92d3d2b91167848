"""The canvas of an overhead image: colours, heights and land cover of the ground, rendered in sunlight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.demo_world.regions import Colour

Plane = NDArray[np.floating[Any]]
Stencil = NDArray[np.bool_]

URBAN, AGRICULTURE, RANGELAND, FOREST, WATER, BARREN = range(6)

PALETTE = np.array(
    [(0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255)], dtype=np.uint8
)
"""Colours of the land-cover classes in a mask, as in DeepGlobe's land-cover challenge."""


def smooth_noise(generator: np.random.Generator, size: int, scale_px: float, octaves: int = 2) -> Plane:
    """Smooth noise of about unit variance, shape (size, size), with structures up to `scale_px` wide.

    Each octave adds structures of half the width and 0.6 times the amplitude.
    """
    nodes = math.ceil(size / scale_px) + 2
    total: Plane = generator.standard_normal((nodes, nodes), dtype=np.float32) * np.float32(1.25)
    for octave in range(1, octaves):
        nodes *= 2
        total = np.asarray(cv2.resize(total, (nodes, nodes), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
        total += generator.standard_normal((nodes, nodes), dtype=np.float32) * np.float32(1.25 * 0.6**octave)
    return np.asarray(cv2.resize(total, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


class Canvas:
    """The ground seen from above; a pixel is about 0.6 m.

    Attributes:
        size: side in pixels.
        east, south: coordinates of each pixel relative to the centre, shape (size, size).
        albedo: colour of each pixel in full light, shape (size, size, 3).
        height: height above the ground in pixels, shape (size, size).
        cover: land cover, 0-5, shape (size, size).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        axis = np.arange(size, dtype=np.float32) - (size - 1) / 2
        self.east: Plane = np.broadcast_to(axis[None, :], (size, size))
        self.south: Plane = np.broadcast_to(axis[:, None], (size, size))
        self.albedo: Plane = np.zeros((size, size, 3), dtype=np.float32)
        self.height: Plane = np.zeros((size, size), dtype=np.float32)
        self.cover: NDArray[np.uint8] = np.full((size, size), RANGELAND, dtype=np.uint8)

    def turned(self, angle: float) -> tuple[Plane, Plane]:
        """Coordinates of each pixel along and across the direction `angle` (radians)."""
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return self.east * cos + self.south * sin, self.south * cos - self.east * sin

    def paint(
        self,
        where: Stencil,
        colour: Colour | Plane,
        cover: int | None = None,
        height: float | Plane | None = None,
    ) -> None:
        """Paints the pixels of `where` with a colour, (3,) or (size, size, 3), and optionally a cover and a height."""
        stencil = where.view(np.uint8)
        if not cv2.countNonZero(stencil):
            return
        cv2.copyTo(self._spread(np.asarray(colour, dtype=np.float32)), stencil, self.albedo)
        if cover is not None:
            self.cover[where] = cover
        if height is not None:
            cv2.copyTo(self._spread(np.asarray(height, dtype=np.float32)), stencil, self.height)

    def _spread(self, value: Plane) -> Plane:
        """Expands a number, a colour or a plane to a contiguous plane."""
        if value.shape == (3,):
            value = np.tile(value, (self.size, 1))  # copying row by row is faster than pixel by pixel
            return np.ascontiguousarray(np.broadcast_to(value, self.albedo.shape))
        return np.ascontiguousarray(np.broadcast_to(value, self.height.shape)) if value.ndim == 0 else value

    def blend(self, opacity: Plane, colour: Colour) -> None:
        """Blends in a colour with an opacity in [0, 1] for each pixel."""
        self.albedo += opacity[..., None] * (np.asarray(colour, dtype=np.float32) - self.albedo)

    def mask(self) -> NDArray[np.uint8]:
        """The land cover in DeepGlobe's colours, shape (size, size, 3)."""
        return PALETTE[self.cover]


@dataclass(frozen=True)
class Sun:
    """Direction and quality of the daylight.

    Attributes:
        azimuth: direction of the shadows, radians.
        slope: tangent of the sun's elevation: an object h px high casts a shadow of h / slope px.
        overcast: 0 for a clear sky with hard shadows, 1 for clouds without shadows.
    """

    azimuth: float
    slope: float
    overcast: float


def _shadow(height: Plane, sun: Sun, reach_px: int = 34) -> Plane:
    """Strength of the cast shadow at each pixel, [0, 1], computed by marching over the heights towards the sun."""
    size = height.shape[0]
    padded = cv2.copyMakeBorder(height, reach_px, reach_px, reach_px, reach_px, cv2.BORDER_REPLICATE)
    horizon = height.copy()
    for step in range(2, reach_px, 2):
        left = reach_px - round(step * math.cos(sun.azimuth))
        top = reach_px - round(step * math.sin(sun.azimuth))
        np.maximum(horizon, padded[top : top + size, left : left + size] - np.float32(step * sun.slope), out=horizon)
    depth = np.clip((horizon - height) / 2.0, 0, 1)
    return np.asarray(cv2.GaussianBlur(depth, (0, 0), 0.8 + 1.5 * sun.overcast), dtype=np.float32)


def in_sunlight(canvas: Canvas, sun: Sun, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Renders a canvas as a photograph, shape (size, size, 3): shading, cast shadows, haze and camera noise."""
    height = np.asarray(cv2.GaussianBlur(canvas.height, (0, 0), 0.7), dtype=np.float32)
    east_slope = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    south_slope = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    facing_sun = east_slope * math.cos(sun.azimuth) + south_slope * math.sin(sun.azimuth)
    shade = 1 + 0.5 * np.clip(facing_sun, -1.2, 0.8)
    direct = (1 - 0.75 * sun.overcast) * shade * (1 - _shadow(height, sun))
    sky = np.array([0.30, 0.35, 0.44], dtype=np.float32) * (1 + 1.0 * sun.overcast)
    beam = np.array([0.80, 0.77, 0.70], dtype=np.float32)
    photo = canvas.albedo * (direct[..., None] * beam + sky)
    haze = 0.05 + 0.07 * sun.overcast
    photo = (1 - haze) * photo + haze * np.array([0.70, 0.75, 0.82], dtype=np.float32)
    photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.6), dtype=np.float32)
    photo += generator.standard_normal((canvas.size, canvas.size, 1), dtype=np.float32) * 0.012
    return np.clip(photo * 255, 0, 255).astype(np.uint8)
