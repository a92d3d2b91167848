"""Predicted maps of the same tiles by several models, side by side (Heidler et al., Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from downstream.benchmarks import BENCHMARKS
from downstream.exhibits import Exhibit, ShownRun
from downstream.landcover.benchmark import Colour
from downstream.landcover.maps import MappedTile
from downstream.landcover.pictures import as_overlaid, draw_panels
from downstream.landcover.tiles import read_tile
from downstream.running.panels import add_panel, read_panel
from downstream.running.pictures import INK, SOFT, png_of, shortened
from shards.atomic_files import write_bytes_atomically

PANELS_FOLDER = "maps"
PARTS = ("tile", "truth", "prediction")
NUM_TILES = 4
PANEL_SIDE = 256
"""Pixels of a panel's longer side."""
SHOWN_SIDE = 1.75
"""Inches of a panel."""


def write_panels(folder: Path, mapped: Sequence[MappedTile], classes: Mapping[str, Colour]) -> list[Path]:
    """Writes `maps/<id>_<tile|truth|prediction>.png` of evenly spread tiles, the same for all runs of a split.

    Args:
        folder: of the run.
        mapped: the validation tiles.
        classes: the colour of each class.
    """
    ordered = sorted(mapped, key=lambda found: found.tile.key)
    chosen = sorted({round(place) for place in np.linspace(0, len(ordered) - 1, min(NUM_TILES, len(ordered)))})
    target = folder / PANELS_FOLDER
    target.mkdir(exist_ok=True)
    written = []
    for found in (ordered[number] for number in chosen):
        image = read_tile(found.tile, classes)
        height, width = (max(1, round(PANEL_SIDE * side / max(image.labels.shape))) for side in image.labels.shape)
        predicted = np.array(Image.open(BytesIO(found.preview)))
        for part, panel in draw_panels(image, predicted, classes, (width, height)).items():
            buffer = BytesIO()
            Image.fromarray(panel).save(buffer, format="png")
            written.append(target / f"{found.tile.key}_{part}.png")
            write_bytes_atomically(written[-1], buffer.getvalue())
    return written


def maps_side_by_side(runs: Sequence[ShownRun]) -> list[Exhibit]:
    """A row for each tile that the runs share: the tile, its mask, and each model's map.

    Of runs of the same weights, encoder and protocol the first is shown. Runs without panels, from earlier versions,
    are left out, and nothing is shown where fewer than two are left.

    Raises:
        UserError: a panel can't be read.
    """
    models: dict[tuple[str, ...], ShownRun] = {}
    for run in runs:
        if _keys_of(run):
            models.setdefault((run.results.weights, run.results.backbone, run.results.protocol), run)
    shown = list(models.values())
    keys = sorted(set.intersection(*map(_keys_of, shown))) if shown else []
    if len(shown) < 2 or not keys:
        return []
    benchmark: Any = BENCHMARKS[shown[0].results.benchmark]
    names = [f"{shortened(run.weights)}\n{run.backbone}" for run in shown]
    rows = [
        [
            _panel(shown[0], key, "tile"),
            _panel(shown[0], key, "truth"),
            *(_panel(run, key, "prediction") for run in shown),
        ]
        for key in keys
    ]
    caption = (
        f"Tiles {', '.join(keys)} with their masks and the maps of {len(shown)} models; classes in colour over the "
        "tile in grey, unknown pixels striped."
    )
    figure = _draw(keys, ["tile", "truth", *names], rows, benchmark.classes)
    return [Exhibit(f"{benchmark.name}-maps", f"Maps by model: {benchmark.title}", caption, png_of(figure))]


def _keys_of(run: ShownRun) -> set[str]:
    ending = f"_{PARTS[-1]}.png"
    return {path.name.removesuffix(ending) for path in (run.folder / PANELS_FOLDER).glob(f"*{ending}")}


def _panel(run: ShownRun, key: str, part: str) -> NDArray[np.uint8]:
    path = run.folder / PANELS_FOLDER / f"{key}_{part}.png"
    return read_panel(path, PANEL_SIDE)


def _draw(
    keys: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    classes: Mapping[str, Colour],
) -> Figure:
    step = SHOWN_SIDE + 0.08
    width, height = 0.8 + step * len(columns), 1.15 + step * len(rows)
    figure = Figure(figsize=(width, height))
    for row, (key, panels) in enumerate(zip(keys, rows, strict=True)):
        top = 0.6 + row * step
        for column, panel in enumerate(panels):
            left = 0.7 + column * step
            axes = add_panel(figure, panel, left=left, top=top, side=SHOWN_SIDE)
            if row == 0:
                axes.set_title(columns[column], fontsize=8.5, color=INK, parse_math=False)
        y = 1 - (top + SHOWN_SIDE / 2) / height
        figure.text(
            0.6 / width, y, shortened(key, 9), fontsize=8, color=SOFT, ha="right", va="center", parse_math=False
        )
    patches = []
    for name, colour in classes.items():
        red, green, blue = (value / 255 for value in as_overlaid(colour))
        patches.append(Patch(color=(red, green, blue), label=name))
    figure.legend(handles=patches, loc="lower center", ncols=len(patches), frameon=False, fontsize=8.5, labelcolor=INK)
    return figure
