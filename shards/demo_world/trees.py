"""Paints trees: dome-shaped crowns around scattered trunks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.demo_world.canvas import FOREST, Canvas, Plane
from shards.demo_world.regions import Region


def _scatter(density: Plane, spacing_px: float, generator: np.random.Generator) -> NDArray[np.int32]:
    """Points on a jittered grid, each kept with probability `density` at its pixel; (row, column), shape (n, 2)."""
    size = density.shape[0]
    steps = np.arange(0, size, spacing_px)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.clip(grid + generator.uniform(0, spacing_px, grid.shape), 0, size - 1).astype(np.int32)
    kept = generator.random(len(points)) < density[points[:, 0], points[:, 1]]
    return points[kept]


def plant_trees(canvas: Canvas, density: Plane, region: Region, generator: np.random.Generator) -> None:
    """Paints trees with probability `density` at each pixel; crowns cover whatever is below."""
    radius_px = region.crown_radius_px
    points = _scatter(density, 1.25 * radius_px, generator)
    if len(points) == 0:
        return
    ground = np.ones((canvas.size, canvas.size), dtype=np.uint8)
    ground[points[:, 0], points[:, 1]] = 0
    distance, label = cv2.distanceTransformWithLabels(ground, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    num_labels = int(label.max()) + 1
    radius = radius_px * generator.uniform(0.65, 1.3, num_labels).astype(np.float32)[label]
    radius += generator.standard_normal(radius.shape, dtype=np.float32) * 0.55
    dome = np.sqrt(np.maximum(radius * radius - distance * distance, 0))
    crown = dome > 0
    tint = 1 + np.array([0.16, 0.10, 0.10]) * generator.standard_normal((num_labels, 3))
    tint *= generator.uniform(0.8, 1.25, (num_labels, 1))
    leaves = (np.array(region.leaves) * 1.25 * tint).astype(np.float32)[label]
    speckle = 1 + 0.12 * generator.standard_normal((canvas.size, canvas.size, 1), dtype=np.float32)
    canvas.paint(crown, leaves * speckle, FOREST, canvas.height + 5 + 1.2 * dome)
