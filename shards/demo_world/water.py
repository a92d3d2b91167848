"""Paints the sea, with beach and surf, and rivers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards.demo_world.canvas import BARREN, WATER, Canvas, Plane, Stencil, smooth_noise
from shards.demo_world.factors import Factors
from shards.demo_world.regions import Region

_FOAM = (0.93, 0.95, 0.95)
_LEAST_SHARE = 0.06


@dataclass(frozen=True)
class Coast:
    """The course of a shore.

    Attributes:
        angle: direction of the shore, radians.
        along: position of each pixel along the shore, pixels.
        shore: distance of each pixel from the smooth shore line, positive at sea, pixels.
        waterline: distance of each pixel from the irregular edge of the water, positive at sea, pixels.
        beach_px: width of the beach, pixels.
    """

    angle: float
    along: Plane
    shore: Plane
    waterline: Plane
    beach_px: float


def lay_coast(canvas: Canvas, factors: Factors, generator: np.random.Generator) -> Coast | None:
    """Lays out the shore of a place, further inland the larger the share of the sea; None far from the sea."""
    if factors.sea < _LEAST_SHARE:
        return None
    angle = generator.uniform(0, 2 * np.pi)
    along, across = canvas.turned(angle)
    reach = canvas.size * (0.25 - 0.46 * (factors.sea - _LEAST_SHARE) ** 0.8)
    bend = generator.uniform(5, 15) * np.sin(
        along * (2 * np.pi / generator.uniform(180, 340)) + generator.uniform(0, 6)
    )
    shore = across - np.float32(reach) + bend.astype(np.float32)
    waterline = shore + 6 * smooth_noise(generator, canvas.size, 90, octaves=3)
    return Coast(angle, along, shore, waterline, beach_px=generator.uniform(9, 18))


def _mix(from_colour: Plane, to_colour: Plane, share: Plane) -> Plane:
    return np.asarray(from_colour + share[..., None] * (to_colour - from_colour))


def paint_sea(
    canvas: Canvas, coast: Coast, factors: Factors, region: Region, wind_azimuth: float, generator: np.random.Generator
) -> Stencil:
    """Paints deep water, shallows, lines of surf, wet and dry sand; returns the pixels that can't be built on.

    The higher the waves, the wider the surf and the longer the swell; the stronger the wind, the more whitecaps.
    """
    out = coast.waterline
    sand = np.array([0.86, 0.78, 0.62], dtype=np.float32) * 0.8 + np.array(region.soil, dtype=np.float32) * 0.2
    dryness = np.clip(-out / coast.beach_px, 0.25, 1)
    grain = smooth_noise(generator, canvas.size, 4, octaves=2)
    canvas.paint(out > -coast.beach_px, sand * (0.72 + 0.28 * dryness + 0.03 * grain)[..., None], BARREN, 0.0)

    deep = np.array(region.sea, dtype=np.float32)
    shallow = deep * 0.5 + np.array([0.25, 0.40, 0.38], dtype=np.float32)
    water = _mix(shallow, deep, np.clip(out / 70, 0, 1) ** np.float32(0.7))
    front = out + 4 * smooth_noise(generator, canvas.size, 50, octaves=2)
    swell = np.sin(front * np.float32(2 * np.pi / (9 + 22 * factors.waves)))
    downwind, _ = canvas.turned(wind_azimuth)
    ripples = np.sin(downwind * np.float32(2 * np.pi / 6) + 3 * smooth_noise(generator, canvas.size, 20))
    water *= (1 + (0.05 + 0.12 * factors.waves) * swell + 0.17 * factors.wind * ripples)[..., None]
    canvas.paint(out > 0, water, WATER, 0.0)
    _paint_foam(canvas, factors, out, swell, generator)
    return np.asarray(out > -coast.beach_px - 6)


def _paint_foam(canvas: Canvas, factors: Factors, out: Plane, swell: Plane, generator: np.random.Generator) -> None:
    """Paints breakers near the shore, wider the higher the waves, and whitecaps further out."""
    surf_px = 8 + 75 * factors.waves
    ragged = smooth_noise(generator, canvas.size, 14, octaves=3)
    breaking = np.clip(2.2 * (swell - 0.35) + 0.55 * ragged, 0, 1) * np.clip(1.25 - out / surf_px, 0, 1)
    wash = np.clip(1 - np.abs(out - 1.5) / (2 + 3 * factors.waves), 0, 1)
    flecks = np.clip(1.5 * smooth_noise(generator, canvas.size, 3.5) + 0.7 * ragged - 5.6 + 3.2 * factors.wind, 0, 1)
    foam = np.maximum(np.maximum(breaking, wash), 0.8 * flecks) * (out > 0)
    canvas.blend(np.asarray(0.92 * foam, dtype=np.float32), _FOAM)


def paint_river(
    canvas: Canvas, factors: Factors, region: Region, road_angle: float, generator: np.random.Generator
) -> Stencil:
    """Paints a meandering river with gravel banks, wider the larger its share; returns pixels that can't be built on.

    It passes under the road and, if there is a coast, crosses the beach into the sea.
    """
    if factors.river < _LEAST_SHARE:
        return np.zeros((canvas.size, canvas.size), dtype=bool)
    along, across = canvas.turned(road_angle + generator.uniform(0.3, 0.7) * np.pi)
    bends = along * (2 * np.pi / generator.uniform(150, 260)) + generator.uniform(0, 6)
    middle_line = generator.uniform(10, 26) * np.sin(bends) + generator.uniform(-20, 20)
    half_width = 4 + 62 * (factors.river - _LEAST_SHARE) ** 0.85 + 2.0 * smooth_noise(generator, canvas.size, 60)
    bank = half_width - np.abs(across - middle_line)
    land = canvas.cover != WATER
    gravel = np.array(region.soil, dtype=np.float32) * 0.6 + 0.3
    grain = smooth_noise(generator, canvas.size, 3, octaves=1)
    canvas.paint(land & (bank > -4), gravel * (1 + 0.06 * grain)[..., None], BARREN, 0.0)
    bed, deep = np.array([0.34, 0.38, 0.27], dtype=np.float32), np.array([0.16, 0.27, 0.25], dtype=np.float32)
    water = _mix(bed, deep, np.clip(bank / 12, 0, 1))
    current = np.sin((across - middle_line) * 0.55 + 2.5 * smooth_noise(generator, canvas.size, 26))
    water *= (1 + 0.07 * current + 0.03 * grain)[..., None]
    canvas.paint(land & (bank > 0), water, WATER, 0.0)
    canvas.blend(0.55 * np.clip(0.6 * current + 0.5 * grain - 0.75, 0, 1) * (land & (bank > 2)), _FOAM)
    return np.asarray(bank > -9)
