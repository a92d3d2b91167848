"""Paints the aerial photograph of a place from its factors, and the matching land-cover mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.demo_world import buildings, ground, trees, water
from shards.demo_world.buildings import Road
from shards.demo_world.canvas import Canvas, Plane, Stencil, Sun, in_sunlight
from shards.demo_world.factors import Factors, Place

_TREES_PER_SPOT = {"town": 0.08, "village": 0.18, "industry": 0.07, "forest": 1.0, "farmland": 0.02, "park": 0.30}


def paint_place(place: Place, size: int, generator: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paints the aerial photograph of a place and its land cover.

    Args:
        place: the place, whose factors shape the image.
        size: side of the image in pixels of about 0.6 m.
        generator: draws everything that the factors don't determine: courses, angles, parcels, houses, trees.

    Returns:
        The photograph, RGB, and the mask in DeepGlobe's colours; both uint8 of shape (size, size, 3).
    """
    canvas, factors, region = Canvas(size), place.factors, place.region
    sun = Sun(azimuth=generator.uniform(0.4, 1.1), slope=generator.uniform(0.7, 1.0), overcast=_overcast(factors))
    wind_azimuth = generator.uniform(0, np.pi)

    ground.paint_meadow(canvas, region, generator)
    zones = ground.lay_zones(canvas, factors, generator)
    ground.paint_settled_ground(canvas, zones, generator)
    ground.paint_forest_floor(canvas, zones["forest"], region)
    ground.paint_park(canvas, zones["park"], generator)
    hedges = ground.paint_fields(canvas, zones["farmland"], factors, region, generator)
    ground.blow_over(canvas, factors, wind_azimuth, generator)

    coast = water.lay_coast(canvas, factors, generator)
    road, road_px = _lay_road(canvas, factors, coast, generator), buildings.road_half_width_px(factors)
    built = _paint_settlements(canvas, place, zones, road, generator)
    wet = np.zeros(canvas.cover.shape, dtype=bool)
    if coast is not None:
        wet |= water.paint_sea(canvas, coast, factors, region, wind_azimuth, generator)
    wet |= water.paint_river(canvas, factors, region, road.angle, generator)
    if factors.has_church:
        sites = (zones["town"] | zones["village"]) & ~wet & (np.abs(road.across) > road_px + 30)
        sites &= np.hypot(canvas.east, canvas.south) < 0.36 * size
        built |= buildings.paint_church(canvas, sites, factors, region, road.angle, generator)
    buildings.paint_road(canvas, factors, road, generator)

    density = _tree_density(factors, zones, hedges)
    density[built | wet | (np.abs(road.across) < road_px + 5)] = 0
    trees.plant_trees(canvas, density, region, generator)
    if factors.rain > 0.5:
        canvas.albedo *= np.float32(1 - 0.25 * (factors.rain - 0.5))
    return in_sunlight(canvas, sun, generator), canvas.mask()


def _overcast(factors: Factors) -> float:
    return float(np.clip((factors.rain - 0.3) / 0.5, 0, 1))


def _lay_road(canvas: Canvas, factors: Factors, coast: water.Coast | None, generator: np.random.Generator) -> Road:
    """Lays out the road: along the beach if there is a coast, otherwise anywhere."""
    if coast is None:
        return buildings.lay_road(canvas, generator)
    inland_px = coast.beach_px + 10 + buildings.road_half_width_px(factors)
    return Road(coast.angle, coast.along, coast.shore + np.float32(inland_px))


def _paint_settlements(
    canvas: Canvas,
    place: Place,
    zones: dict[str, Stencil],
    road: Road,
    generator: np.random.Generator,
) -> Stencil:
    """Paints village, town and industry, aligned with the road; returns the pixels where no tree can grow."""
    factors, region, angle = place.factors, place.region, road.angle
    roadside = np.abs(road.across) < buildings.road_half_width_px(factors) + 14
    built = buildings.paint_village(canvas, zones["village"], roadside, region, angle, generator)
    built |= buildings.paint_town(canvas, zones["town"], roadside, region, angle, generator)
    built |= buildings.paint_industry(canvas, zones["industry"], roadside, factors, angle, generator)
    return np.asarray(cv2.dilate(built.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0)


def _tree_density(factors: Factors, zones: dict[str, Stencil], hedges: Stencil) -> Plane:
    density = np.zeros(hedges.shape, dtype=np.float32)
    for zone, most in _TREES_PER_SPOT.items():
        density[zones[zone]] = most * (0.1 + 1.1 * factors.trees)
    density[hedges] = 0.05 + 0.8 * factors.trees
    return density
