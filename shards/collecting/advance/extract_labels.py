"""Labels places by a local extract of OpenStreetMap: each object is held against the places near it, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shards.collecting.advance.label_table import Label, LabelTable, Line, NearObject
from shards.collecting.advance.osm_objects import read_objects
from shards.errors import UserError
from shards.geography.shapes import METRES_PER_DEGREE, metres_away

Place = tuple[float, float]
"""Longitude and latitude in degrees."""


def labels_of_extract(
    path: Path, table: LabelTable, places: Sequence[Place], notice: Callable[[str], None]
) -> dict[Place, Label]:
    """The label of each place that has one; memory grows with the places, not with the extract.

    Args:
        path: GeoJSON or OSM XML.
        table: the label table.
        places: all different.
        notice: is given sentences on what was left out.

    Raises:
        UserError: the file can't be read, or none of its objects is in the table.
    """
    longitudes = np.array([place[0] for place in places])
    latitudes = np.array([place[1] for place in places])
    up = table.farthest_metres / METRES_PER_DEGREE
    across = up / np.maximum(0.01, np.cos(np.radians(latitudes)))
    best: dict[int, tuple[int, Line]] = {}
    num_objects = 0
    for found in read_objects(path, table, notice):
        num_objects += 1
        west, south, east, north = found.shape.bounds
        is_near = (latitudes >= south - up) & (latitudes <= north + up)
        is_near &= (longitudes >= west - across) & (longitudes <= east + across)
        for number in np.flatnonzero(is_near).tolist():
            metres = metres_away(found.shape, longitudes[number], latitudes[number])
            rank = table.rank_of(NearObject(found.tags, metres))
            if rank is not None and (number not in best or rank[0] < best[number][0]):
                best[number] = rank
    if num_objects == 0:
        raise UserError(f"--osm {path} has no object with tags of the label table; give an extract of the region")
    return {places[number]: table.label_of(rank) for number, rank in best.items()}
