"""Embeddings of test segments in the plane by t-SNE, several strategies side by side (Chen et al., 2022, Fig. 2)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from downstream.exhibits import Exhibit, ShownRun
from downstream.running.pictures import INK, png_of, shortened
from downstream.tau.acoustic_features import CLIP_SECONDS
from downstream.tau.benchmark import CLASSES, Clip
from downstream.tau.joint_network import EMBEDDING
from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text
from shards.errors import UserError
from shards.records import read_bytes_within

ORDER = ("audio", "video", "pipeline", "pipeline-trainable", "joint-pretrained", "joint")
PLANES_NAME = "embeddings_tsne.csv"
HEADER = ["clip", "second", "class", "x", "y", "acoustic_x", "acoustic_y"]
PLANES = {"embedding": ("x", "y"), "acoustic embedding": ("acoustic_x", "acoustic_y")}
"""Rows of the picture, and their columns in the file."""
MOST_CLIPS = 200
"""Whose 2,000 segments t-SNE arranges in half a minute."""
PERPLEXITY = 30.0
MOST_BYTES = 1 << 20
SHOWN_SIDE = 3.0
"""Inches of a panel."""


def shown_clips(clips: Sequence[Clip]) -> list[Clip]:
    """Up to `MOST_CLIPS` evenly spaced clips, so that a list sorted by class yields some of each."""
    return [clips[int(n)] for n in sorted(set(np.linspace(0, len(clips) - 1, min(MOST_CLIPS, len(clips))).round()))]


def write_planes(
    folder: Path, clips: Sequence[Clip], embeddings: NDArray[np.float32], *, hears: bool, seed: int
) -> Path:
    """Writes `embeddings_tsne.csv`: where t-SNE puts each segment by its joint and by its acoustic embedding.

    Args:
        folder: of the run.
        clips: whose segments these are.
        embeddings: (10 · clips, d) joint embeddings, which begin with the acoustic one.
        hears: whether they do; else the acoustic columns are empty.
        seed: of t-SNE.
    """
    joint = arranged(embeddings, seed)
    acoustic = arranged(embeddings[:, :EMBEDDING], seed) if hears else None
    rows: list[list[object]] = []
    for number, place in enumerate(joint):
        clip = clips[number // CLIP_SECONDS]
        heard = ["", ""] if acoustic is None else [f"{value:.4f}" for value in acoustic[number]]
        rows.append([clip.key, number % CLIP_SECONDS, CLASSES[clip.label], *(f"{v:.4f}" for v in place), *heard])
    write_text_atomically(folder / PLANES_NAME, csv_text(HEADER, rows))
    return folder / PLANES_NAME


def arranged(embeddings: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """t-SNE of embeddings, (n, d) → (n, 2); they are scaled to length 1 first. Equal embeddings have equal places."""
    if not np.ptp(embeddings, axis=0).any():
        return np.zeros((len(embeddings), 2), np.float32)
    lengths = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    places: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        embeddings / lengths
    )
    return places


def planes_side_by_side(runs: Sequence[ShownRun]) -> list[Exhibit]:
    """A column for each strategy; above the joint embeddings, below the acoustic ones, coloured by class.

    Of runs that share strategy, features and encoder the first is shown. Runs without the file are left out.

    Raises:
        UserError: a run's file can't be read.
    """
    columns: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    for run in sorted(runs, key=_place):
        if (run.folder / PLANES_NAME).is_file():
            features = run.results.details.get("features") or ""
            parts = [str(features), run.backbone]
            name = f"{run.results.detail('strategy')}\n{', '.join(part for part in parts if part)}"
            columns.setdefault(name, read_planes(run.folder / PLANES_NAME))
    if not columns:
        return []
    caption = (
        f"t-SNE of the embeddings of test segments by {len(columns)} strategies, coloured by class: what the "
        "classifier sees, and below the acoustic part of it."
    )
    png = png_of(_draw(columns))
    return [Exhibit(f"{runs[0].results.benchmark}-embeddings", "Embeddings by strategy", caption, png)]


def _place(run: ShownRun) -> int:
    """In the order of the paper's tables."""
    strategy = run.results.detail("strategy")
    return ORDER.index(strategy) if strategy in ORDER else len(ORDER)


def read_planes(path: Path) -> dict[str, NDArray[np.float64]]:
    """The labels, "class" (n,), and the places of each plane, (n, 2); planes that were not written are missing.

    Raises:
        UserError: the file is not what `write_planes` writes.
    """
    remedy = "run the benchmark again"
    text = read_bytes_within(path, MOST_BYTES, remedy).decode("utf-8", errors="replace")
    rows = list(csv.DictReader(io.StringIO(text)))
    try:
        labels = np.array([CLASSES.index(row["class"]) for row in rows], dtype=np.float64)
        planes = {
            plane: np.array([[_finite(row[x]), _finite(row[y])] for row in rows])
            for plane, (x, y) in PLANES.items()
            if rows and rows[0][x]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} must have the columns {', '.join(HEADER)}: {error}; {remedy}") from error
    if not planes:
        raise UserError(f"{path} holds no places; {remedy}")
    return {"class": labels, **planes}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _draw(columns: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Figure:
    rows = [plane for plane in PLANES if any(plane in of for of in columns.values())]
    step = SHOWN_SIDE + 0.15
    width, height = 0.6 + step * len(columns), 1.35 + step * len(rows)
    figure = Figure(figsize=(max(width, 7.0), height))
    width = max(width, 7.0)
    colours = colormaps["tab10"](np.arange(len(CLASSES)))
    for column, (name, of) in enumerate(columns.items()):
        for row, plane in enumerate(rows):
            if plane not in of:
                continue
            left, top = 0.5 + column * step, 0.6 + row * step
            place = (left / width, 1 - (top + SHOWN_SIDE) / height, SHOWN_SIDE / width, SHOWN_SIDE / height)
            axes = figure.add_axes(place)
            for label, class_name in enumerate(CLASSES):
                own = of[plane][of["class"] == label]
                axes.scatter(own[:, 0], own[:, 1], s=5, color=colours[label], linewidths=0, label=class_name)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color("#c9c3b6")
            if row == 0:
                head, _, rest = name.partition("\n")
                axes.set_title(f"{head}\n{shortened(rest, 40)}", fontsize=9, color=INK, parse_math=False)
    for row, plane in enumerate(rows):
        y = 1 - (0.6 + row * step + SHOWN_SIDE / 2) / height
        figure.text(0.25 / width, y, plane, fontsize=9, color=INK, rotation=90, ha="center", va="center")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="lower center", ncols=5, frameon=False, fontsize=8.5, markerscale=2.5)
    for text in legend.get_texts():
        text.set_color(INK)
    return figure
