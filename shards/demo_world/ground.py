"""The ground: how the land is divided among its uses, and the look of meadows, crops, lawns and yards."""

from __future__ import annotations

import numpy as np

from shards.demo_world.canvas import AGRICULTURE, FOREST, RANGELAND, URBAN, Canvas, Plane, Stencil, smooth_noise
from shards.demo_world.factors import Factors
from shards.demo_world.lattice import Lattice
from shards.demo_world.regions import Region

ZONES = ("town", "village", "industry", "forest", "farmland", "park")

_GREEN_CROP = np.array([0.30, 0.46, 0.16], dtype=np.float32)
_RIPE_CROP = np.array([0.80, 0.66, 0.30], dtype=np.float32)
_ASPHALT = (0.42, 0.41, 0.41)


def lay_zones(canvas: Canvas, factors: Factors, generator: np.random.Generator) -> dict[str, Stencil]:
    """Divides the land among its uses, in irregular patches whose areas follow the shares."""
    highest, winner = np.full(canvas.cover.shape, -np.inf, np.float32), np.zeros(canvas.cover.shape, np.uint8)
    for index, zone in enumerate(ZONES):
        wobble = smooth_noise(generator, canvas.size, 90, octaves=3)
        potential = np.float32(np.log(getattr(factors, zone) + 1e-3)) + np.float32(0.55) * wobble
        winner[potential > highest] = index
        np.maximum(highest, potential, out=highest)
    return {zone: winner == index for index, zone in enumerate(ZONES)}


def _with_texture(colour: Plane, texture: Plane, strength: float) -> Plane:
    return np.asarray(colour * (1 + np.float32(strength) * texture[..., None]))


def paint_meadow(canvas: Canvas, region: Region, generator: np.random.Generator) -> None:
    """Paints rough grass with patches of bare soil everywhere, as the background of everything else."""
    grass, soil = np.array(region.grass, dtype=np.float32), np.array(region.soil, dtype=np.float32)
    patches = np.clip(smooth_noise(generator, canvas.size, 40, octaves=4) * 0.22 + 0.15, 0, 0.8)[..., None]
    fine = smooth_noise(generator, canvas.size, 3, octaves=1)
    canvas.albedo[:] = _with_texture(grass + patches * (soil - grass), fine, 0.07)


def paint_fields(
    canvas: Canvas, zone: Stencil, factors: Factors, region: Region, generator: np.random.Generator
) -> Stencil:
    """Paints parcels with rows of crops, some ploughed; returns the pixels of the hedges between them."""
    if not zone.any():
        return zone
    angle = generator.uniform(0, np.pi)
    width, depth = generator.uniform(70, 110), generator.uniform(45, 80)
    parcels = Lattice(canvas, generator, angle=angle, width=width, depth=depth)
    ripeness = np.clip(factors.ripeness + parcels.uniform(-0.12, 0.12), 0, 1)[..., None]
    crop = _GREEN_CROP + ripeness * (_RIPE_CROP - _GREEN_CROP)
    soil = np.array(region.soil, dtype=np.float32) * 0.85
    crop = np.where(parcels.chance(0.18)[..., None], soil, crop)
    period = parcels.uniform(3.2, 6.5)
    rows = np.sin(np.where(parcels.chance(0.5), parcels.along, parcels.across) * (2 * np.pi) / period)
    mottle = smooth_noise(generator, canvas.size, 26, octaves=3)
    crop = _with_texture(crop * (1 + parcels.uniform(-0.12, 0.12)[..., None]), 0.10 * rows + 0.06 * mottle, 1.0)
    canvas.paint(zone, crop, AGRICULTURE)
    edge = np.minimum(width / 2 - np.abs(parcels.along), depth / 2 - np.abs(parcels.across))
    canvas.paint(zone & (edge < 2.0), np.array(region.grass, dtype=np.float32) * 0.9)
    return np.asarray(zone & (edge < 3.5))


def paint_forest_floor(canvas: Canvas, zone: Stencil, region: Region) -> None:
    """Paints dark undergrowth below the trees."""
    canvas.paint(zone, canvas.albedo * 0.35 + np.array(region.leaves, dtype=np.float32) * 0.5, FOREST)


def paint_park(canvas: Canvas, zone: Stencil, generator: np.random.Generator) -> None:
    """Paints lawn mown in stripes and winding gravel paths."""
    if not zone.any():
        return
    mowing = Lattice(canvas, generator, angle=generator.uniform(0, np.pi), width=13, depth=400)
    lawn = np.array([0.33, 0.56, 0.24], dtype=np.float32) * (1 + mowing.uniform(-0.11, 0.11)[..., None])
    canvas.paint(zone, _with_texture(lawn, smooth_noise(generator, canvas.size, 5), 0.04), RANGELAND)
    winding = smooth_noise(generator, canvas.size, 110, octaves=1)
    steepness = np.hypot(*np.gradient(winding)) + np.float32(1e-3)
    for level in (-0.5, 0.5):
        canvas.paint(zone & (np.abs(winding - level) < 2.6 * steepness), (0.80, 0.74, 0.62), RANGELAND)


def paint_settled_ground(canvas: Canvas, zones: dict[str, Stencil], generator: np.random.Generator) -> None:
    """Paints asphalt in towns, gardens in villages and concrete around halls."""
    stain = smooth_noise(generator, canvas.size, 22, octaves=4)
    asphalt = np.array(_ASPHALT, dtype=np.float32)
    concrete = np.array([0.58, 0.56, 0.53], dtype=np.float32)
    canvas.paint(zones["town"], _with_texture(np.broadcast_to(asphalt, canvas.albedo.shape), stain, 0.05), URBAN)
    canvas.paint(zones["industry"], _with_texture(np.broadcast_to(concrete, canvas.albedo.shape), stain, 0.08), URBAN)
    canvas.paint(zones["village"], canvas.albedo * np.float32(1.02), URBAN)


def blow_over(canvas: Canvas, factors: Factors, azimuth: float, generator: np.random.Generator) -> None:
    """Adds the effect of wind on grass, crops and crowns: light bands across the wind direction."""
    along, _ = canvas.turned(azimuth)
    wobble = smooth_noise(generator, canvas.size, 45, octaves=2)
    bands = np.sin(along * (2 * np.pi / 15) + 2.2 * wobble) * (0.6 + 0.4 * smooth_noise(generator, canvas.size, 60, 1))
    green = (canvas.cover == AGRICULTURE) | (canvas.cover == RANGELAND) | (canvas.cover == FOREST)
    strength = np.float32(0.32 * factors.wind**1.3) * green
    canvas.albedo *= (1 + strength * bands)[..., None]
