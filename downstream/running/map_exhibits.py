"""Class activation maps of the same images by several runs, side by side (Hu et al., ECCV 2020, Fig. 7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from downstream.exhibits import Exhibit, ShownRun
from downstream.running.panels import add_panel, read_panel
from downstream.running.pictures import INK, SOFT, png_of, shortened
from shards.atomic_files import write_bytes_atomically, write_text_atomically
from shards.records import read_json_as

MAPS_FOLDER, MAPS_NAME = "maps", "maps.json"
MAP_PIXELS = 160
MOST_ROWS = 6
SHOWN_SIDE = 1.5
"""Inches of a panel."""

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class DrawnMap:
    """An image, and the map of its class.

    Attributes:
        key: of the item.
        label: its class.
        probability: that the classifier gives to it.
        image: (side, side, 3) uint8, as the classifier sees it.
        overlay: the map over it, of the same shape.
    """

    key: str
    label: str
    probability: float
    image: NDArray[np.uint8]
    overlay: NDArray[np.uint8]


@dataclass(frozen=True)
class MapRecord:
    """An entry of `maps.json`; its pictures are `<number>_image.png` and `<number>_map.png`, counted from 1."""

    key: str
    label: str
    probability: Share


def write_maps(folder: Path, drawn: Sequence[DrawnMap]) -> None:
    """Writes `maps/`: two pictures of each image, and `maps.json`."""
    target = folder / MAPS_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for number, found in enumerate(drawn, 1):
        for part, pixels in (("image", found.image), ("map", found.overlay)):
            buffer = BytesIO()
            Image.fromarray(pixels).save(buffer, format="png")
            write_bytes_atomically(target / f"{number:03d}_{part}.png", buffer.getvalue())
    records = [{"key": found.key, "label": found.label, "probability": found.probability} for found in drawn]
    write_text_atomically(target / MAPS_NAME, json.dumps(records, indent=1) + "\n")


def maps_by_weights(runs: Sequence[ShownRun]) -> list[Exhibit]:
    """The maps of scene benchmarks, a column for each weights and encoder."""
    return _side_by_side(runs, lambda run: f"{shortened(run.weights)}\n{run.backbone}")


def maps_by_approach(runs: Sequence[ShownRun]) -> list[Exhibit]:
    """The maps of the transfer of sound events, a column for each approach and input."""
    inputs = {"image": " (image)", "both": ""}
    return _side_by_side(
        runs, lambda run: run.results.detail("approach") + inputs.get(run.results.detail("modality"), "")
    )


def _side_by_side(runs: Sequence[ShownRun], name_of: Callable[[ShownRun], str]) -> list[Exhibit]:
    """A row for each image that the runs share, with the probability of its class under each map.

    Of runs that share a name the first is shown; nothing is shown where fewer than two are left.

    Raises:
        UserError: a run's maps can't be read.
    """
    found: dict[str, tuple[Path, dict[str, tuple[int, MapRecord]]]] = {}
    for run in runs:
        folder = run.folder / "explain" / MAPS_FOLDER
        if (folder / MAPS_NAME).is_file():
            records = read_json_as(list[MapRecord], folder / MAPS_NAME, "run the benchmark again")
            found.setdefault(name_of(run), (folder, {of.key: (n, of) for n, of in enumerate(records, 1)}))
    shared = set.intersection(*(set(of) for _, of in found.values())) if len(found) > 1 else set()
    keys = _spread(sorted(shared), MOST_ROWS)
    if not keys:
        return []
    (first_folder, first), *_ = found.values()
    rows = []
    for key in keys:
        panels = [(_picture(first_folder, first[key][0], "image"), "")]
        for folder, of in found.values():
            number, record = of[key]
            panels.append((_picture(folder, number, "map"), f"{record.probability:.2f}"))
        rows.append((first[key][1].label, panels))
    benchmark = runs[0].results.benchmark
    caption = (
        f"Class activation maps of {len(keys)} test images by {len(found)} runs, with the probability of the image's "
        "class; brighter parts speak for it, on a scale of each map's own."
    )
    png = png_of(_draw(["image", *found], rows))
    return [Exhibit(f"{benchmark}-activations", "Class activation maps side by side", caption, png)]


def _spread(keys: Sequence[str], most: int) -> list[str]:
    """Up to `most` keys, evenly spaced; none of none."""
    if not keys:
        return []
    return [keys[number] for number in sorted({round(n) for n in np.linspace(0, len(keys) - 1, min(most, len(keys)))})]


def _picture(folder: Path, number: int, part: str) -> NDArray[np.uint8]:
    path = folder / f"{number:03d}_{part}.png"
    return read_panel(path, MAP_PIXELS)


def _draw(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[NDArray[np.uint8], str]]]]) -> Figure:
    across, down = SHOWN_SIDE + 0.1, SHOWN_SIDE + 0.3
    width, height = 1.2 + across * len(columns), 0.65 + down * len(rows)
    figure = Figure(figsize=(width, height))
    for row, (label, panels) in enumerate(rows):
        top = 0.5 + row * down
        for column, (pixels, note) in enumerate(panels):
            left = 1.1 + column * across
            axes = add_panel(figure, pixels, left=left, top=top, side=SHOWN_SIDE)
            if row == 0:
                axes.set_title(columns[column], fontsize=8, color=INK, parse_math=False)
            x, y = (left + SHOWN_SIDE / 2) / width, 1 - (top + SHOWN_SIDE + 0.11) / height
            figure.text(x, y, note, fontsize=8, color=SOFT, ha="center", va="center")
        y = 1 - (top + SHOWN_SIDE / 2) / height
        name = shortened(label, 14)
        figure.text(1.0 / width, y, name, fontsize=8.5, color=INK, ha="right", va="center", parse_math=False)
    return figure
