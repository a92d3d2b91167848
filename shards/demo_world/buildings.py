"""Buildings and roads: houses, town blocks, factory halls, a church, the main road and its cars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards.demo_world.canvas import URBAN, Canvas, Plane, Stencil, smooth_noise
from shards.demo_world.factors import Factors
from shards.demo_world.lattice import Lattice
from shards.demo_world.regions import Region

_CAR_COLOURS = np.array(
    [(0.90, 0.90, 0.90), (0.15, 0.15, 0.17), (0.55, 0.57, 0.60), (0.70, 0.12, 0.10), (0.12, 0.22, 0.50)],
    dtype=np.float32,
)
_STREET = (0.45, 0.44, 0.44)


@dataclass(frozen=True)
class Road:
    """The course of the main road.

    Attributes:
        angle: direction of the road, radians.
        along, across: position of each pixel along the road and its distance from the centre line, pixels.
    """

    angle: float
    along: Plane
    across: Plane


def _within(position: Plane, period_px: float) -> Plane:
    """Position of each pixel within its period."""
    return np.asarray(position - np.float32(period_px) * np.floor(position / np.float32(period_px)))


def _lots_inside(lots: Lattice, zone: Stencil, taken: Stencil) -> Stencil:
    return np.asarray(lots.at_centre(zone) & ~lots.at_centre(taken))


def paint_village(
    canvas: Canvas, zone: Stencil, taken: Stencil, region: Region, angle: float, generator: np.random.Generator
) -> Stencil:
    """Paints houses with pitched roofs in gardens along lanes; returns the pixels of the houses."""
    if not zone.any():
        return zone
    lots = Lattice(canvas, generator, angle=angle, width=34, depth=42)
    inside = _lots_inside(lots, zone, taken)
    gardens = np.array(region.grass, dtype=np.float32) * (1 + lots.uniform(-0.16, 0.16)[..., None])
    canvas.paint(inside, gardens * (1 + 0.08 * smooth_noise(generator, canvas.size, 6)[..., None]), URBAN)
    canvas.paint(inside & (lots.across > 16), _STREET, URBAN, 0.0)
    along, across = lots.along - lots.uniform(-4, 4), lots.across + lots.uniform(1, 7)
    half_length, half_width = lots.uniform(8, 11.5), lots.uniform(5.5, 7.5)
    house = inside & lots.chance(0.88) & (np.abs(along) < half_length) & (np.abs(across) < half_width)
    roof = lots.pick(np.array(region.roofs, dtype=np.float32), 0.10)
    canvas.paint(house, roof, URBAN, 6 + 5.5 * (1 - np.abs(across) / half_width))
    drive = inside & (np.abs(along - half_length - 3) < 2) & (across > half_width - 4) & (lots.across < 17)
    canvas.paint(drive & ~house, (0.62, 0.58, 0.52), URBAN)
    return np.asarray(house)


def paint_town(
    canvas: Canvas, zone: Stencil, taken: Stencil, region: Region, angle: float, generator: np.random.Generator
) -> Stencil:
    """Paints dense blocks of tall houses around courtyards, with streets between; returns the pixels of the houses."""
    if not zone.any():
        return zone
    width, depth = 62.0, 50.0
    blocks = Lattice(canvas, generator, angle=angle, width=width, depth=depth)
    inside = _lots_inside(blocks, zone, taken)
    edge = np.minimum(width / 2 - np.abs(blocks.along), depth / 2 - np.abs(blocks.across))
    canvas.paint(inside, _STREET, URBAN, 0.0)
    canvas.paint(inside & (edge > 5), (0.60, 0.58, 0.55), URBAN)
    wing = blocks.uniform(10, 13)
    house = inside & (edge > 6.5) & (edge < 6.5 + wing)
    party = Lattice(canvas, generator, angle=angle, width=15.5, depth=12.5)
    roofs = np.concatenate([np.array(region.roofs, dtype=np.float32), [[0.62, 0.60, 0.57]]]).astype(np.float32)
    storeys = 11 + party.uniform(0, 6)
    ridge = 1 - np.abs((edge - 6.5) / wing - 0.5) * 2
    canvas.paint(house, party.pick(roofs, 0.13), URBAN, storeys + np.where(party.chance(0.6), 5 * ridge, 0))
    yard = inside & (edge >= 6.5 + wing)
    canvas.paint(yard & blocks.chance(0.5), np.array(region.grass, dtype=np.float32) * 0.9, URBAN)
    return np.asarray(house)


def paint_industry(
    canvas: Canvas, zone: Stencil, taken: Stencil, factors: Factors, angle: float, generator: np.random.Generator
) -> Stencil:
    """Paints flat ribbed halls of varying size with loading yards and containers; returns the pixels of the halls."""
    if not zone.any():
        return zone
    length = 28 * 3.4**factors.hall_size
    plots = Lattice(canvas, generator, angle=angle, width=length + 16, depth=0.62 * length + 18)
    inside = _lots_inside(plots, zone, taken)
    hall = inside & (np.abs(plots.along) < length / 2) & (np.abs(plots.across) < 0.31 * length)
    cladding = np.array([(0.80, 0.81, 0.82), (0.62, 0.66, 0.70), (0.50, 0.56, 0.64), (0.70, 0.66, 0.60)])
    ribs = np.sin(plots.along * (2 * np.pi / 4)) * 0.05
    canvas.paint(hall, plots.pick(cladding.astype(np.float32), 0.06) * (1 + ribs)[..., None], URBAN, 12.0)
    skylight = hall & (np.abs(_within(plots.along, 16) - 8) < 1.3) & (np.abs(plots.across) < 0.22 * length)
    canvas.paint(skylight, (0.88, 0.92, 0.95), URBAN, 12.5)
    boxes = Lattice(canvas, generator, angle=angle, width=13, depth=6)
    box = zone & ~inside & ~taken & boxes.chance(0.3) & (np.abs(boxes.along) < 5.5) & (np.abs(boxes.across) < 2.3)
    box |= inside & ~hall & boxes.chance(0.22) & (np.abs(boxes.along) < 5.5) & (np.abs(boxes.across) < 2.3)
    paint = np.array([(0.66, 0.25, 0.18), (0.20, 0.36, 0.56), (0.75, 0.62, 0.25), (0.35, 0.48, 0.38)])
    canvas.paint(box, boxes.pick(paint.astype(np.float32), 0.12), URBAN, 4.0)
    return np.asarray(hall)


def paint_church(
    canvas: Canvas, sites: Stencil, factors: Factors, region: Region, angle: float, generator: np.random.Generator
) -> Stencil:
    """Paints a church on one of the sites, if there is any: nave, transept, and a tower sized by its factor.

    Returns:
        The pixels of the churchyard.
    """
    candidates = np.flatnonzero(sites)
    if len(candidates) == 0:
        return sites
    site = int(generator.choice(candidates))
    scale = 0.6 + 1.1 * factors.tower
    along, across = canvas.turned(angle)
    along, across = (along - along.flat[site]) / scale, (across - across.flat[site]) / scale
    yard = np.hypot(along / 1.3, across) < 25
    canvas.paint(yard, (0.72, 0.66, 0.55), URBAN, 0.0)
    roof = np.array(region.roofs[0], dtype=np.float32) * 0.9
    nave = (np.abs(along) < 16) & (np.abs(across) < 6.5)
    canvas.paint(nave, roof, URBAN, (11 + 6 * (1 - np.abs(across) / 6.5)) * scale)
    transept = (np.abs(along - 6) < 4.5) & (np.abs(across) < 12)
    canvas.paint(transept & ~nave, roof * 1.05, URBAN, (9 + 5 * (1 - np.abs(along - 6) / 4.5)) * scale)
    tower = (np.abs(along + 19) < 5.5) & (np.abs(across) < 5.5)
    spire = 1 - np.maximum(np.abs(along + 19), np.abs(across)) / 5.5
    canvas.paint(tower, (0.36, 0.50, 0.46), URBAN, (22 + 10 * spire) * scale)
    return np.asarray(yard)


def lay_road(canvas: Canvas, generator: np.random.Generator) -> Road:
    """Lays out a road across the land, near the middle of the image."""
    angle = generator.uniform(0, np.pi)
    along, across = canvas.turned(angle)
    bends = along * np.float32(2 * np.pi / generator.uniform(300, 500)) + np.float32(generator.uniform(0, 6))
    bend = np.float32(generator.uniform(4, 18)) * np.sin(bends) + np.float32(generator.uniform(-30, 30))
    return Road(angle, along, across - bend)


def road_half_width_px(factors: Factors) -> float:
    """Half the width of the main road: a track, a road or a highway."""
    return 2.5 + 12 * factors.traffic


def paint_road(canvas: Canvas, factors: Factors, road: Road, generator: np.random.Generator) -> None:
    """Paints the main road, from a dirt track to a highway, with cars according to the traffic."""
    half = road_half_width_px(factors)
    along, across = road.along, road.across
    paved = factors.traffic > 0.22
    wear = smooth_noise(generator, canvas.size, 9, octaves=2)
    surface = np.array((0.40, 0.40, 0.41) if paved else (0.68, 0.58, 0.44), dtype=np.float32)
    on_road = np.abs(across) < half
    canvas.paint(np.abs(across) < half + 1.5, (0.62, 0.58, 0.50), URBAN, 0.0)
    canvas.paint(on_road, surface * (1 + 0.05 * wear)[..., None], URBAN, 0.0)
    if not paved:
        return
    lane_px = half / max(1, round(half / 5.5))
    line = np.abs(_within(across + lane_px / 2, lane_px) - lane_px / 2) < 0.55
    canvas.paint(on_road & line & (_within(along, 14) < 7), (0.88, 0.88, 0.85))
    canvas.paint(on_road & (np.abs(np.abs(across) - half + 1) < 0.5), (0.85, 0.85, 0.82))
    _paint_cars(canvas, factors, road, half, lane_px, generator)


def _paint_cars(
    canvas: Canvas,
    factors: Factors,
    road: Road,
    half: float,
    lane_px: float,
    generator: np.random.Generator,
) -> None:
    gap_px = 17.0
    along, across = road.along, road.across
    lane = np.floor((across + half) / lane_px).astype(np.int32)
    slot = np.floor((along + canvas.size) / gap_px).astype(np.int32) % 64
    cell = np.clip(lane, 0, 63) * 64 + slot
    present = (generator.random(64 * 64) < 0.55 * factors.traffic)[cell]
    shift = generator.uniform(-3.5, 3.5, 64 * 64).astype(np.float32)[cell]
    x = np.abs(_within(along + canvas.size, gap_px) - gap_px / 2 - shift)
    y = np.abs(across + half - (lane + 0.5) * lane_px)
    car = present & (np.abs(across) < half) & (x < 4.2) & (y < 1.9)
    canvas.paint(car, _CAR_COLOURS[generator.integers(len(_CAR_COLOURS), size=64 * 64)][cell], URBAN, 2.5)
    canvas.paint(car & (np.abs(x - 1.6) < 0.7), (0.15, 0.18, 0.22))
