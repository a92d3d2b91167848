"""The embedding in two dimensions: images and sounds as points, coloured by modality, label or density."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from markupsafe import Markup, escape
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from retrieval.exhibits import data_uri
from retrieval.explore.atlas import Modality
from retrieval.explore.layout import Layout, point_density

Colouring = Literal["modality", "label", "density"]

WIDTH, HEIGHT = 1000, 620
DOTS_PER_UNIT = 2
MARGIN = 0.04
IMAGE_COLOUR, SOUND_COLOUR, NO_LABEL_COLOUR = "#1f8aa3", "#d2691e", "#9aa3a7"
SHAPE_COLOUR = "currentColor"
"""Of the legend's shapes, where colours show something else than the modality."""
MOST_LABELS = 20
"""Number of labels, the most frequent ones, with their own colour; all others share one."""


class PlaneView:
    """Draws a two-dimensional layout.

    Args:
        layout: points of images and sounds.
        labels: (n,) label of every pair in the atlas, -1 if missing.
        label_names: names of the labels.
    """

    def __init__(self, layout: Layout, labels: NDArray[np.int32], label_names: list[str]) -> None:
        self.layout = layout
        points = np.concatenate([layout.image_points, layout.sound_points]).astype(np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        room = np.maximum(high - low, 1e-9)
        share = MARGIN + (1 - 2 * MARGIN) * (points - low) / room
        self._points = share * [WIDTH, HEIGHT]
        self._labels = np.tile(labels[layout.numbers], 2)
        self._label_names = label_names
        self._pictures: dict[Colouring, tuple[str, Markup]] = {}

    @property
    def has_labels(self) -> bool:
        """Whether any of the pairs has a label."""
        return bool((self._labels >= 0).any())

    def draw(self, colouring: Colouring, marked: list[tuple[int, Modality, str]] | None = None) -> Markup:
        """The drawing as inline SVG, and its legend.

        Args:
            colouring: what the colours show.
            marked: number in the atlas, modality and kind ("asked" or "answer") of highlighted points.
        """
        if colouring not in self._pictures:
            self._pictures[colouring] = self._painted(colouring)
        picture, legend = self._pictures[colouring]
        marks = Markup("").join(self._mark(*mark) for mark in marked or [])
        return Markup(
            '<svg class="plane" viewBox="0 0 {} {}" role="img" aria-label="{} images and as many sounds by their '
            'embeddings, coloured by {}"><image href="{}" width="{}" height="{}"/><g>{}</g></svg>{}'
        ).format(WIDTH, HEIGHT, f"{len(self.layout.numbers):,}", colouring, picture, WIDTH, HEIGHT, marks, legend)

    def nearest(self, x: float, y: float) -> tuple[int, Modality]:
        """The pair and modality whose point is nearest to a position in the drawing."""
        found = int(np.square(self._points - [x, y]).sum(axis=1).argmin())
        count = len(self.layout.numbers)
        return int(self.layout.numbers[found % count]), "image" if found < count else "sound"

    def _mark(self, number: int, modality: Modality, kind: str) -> Markup:
        found = np.flatnonzero(self.layout.numbers == number)
        if len(found) == 0:
            return Markup("")
        x, y = self._points[found[0] + (0 if modality == "image" else len(self.layout.numbers))]
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
            kind, x, y, 10 if kind == "asked" else 7
        )

    def _painted(self, colouring: Colouring) -> tuple[str, Markup]:
        """A PNG as a data URI, and the legend."""
        count = len(self.layout.numbers)
        is_sound = np.arange(2 * count) >= count
        if colouring == "modality":
            colours = np.where(is_sound, SOUND_COLOUR, IMAGE_COLOUR)
            return self._scattered(self._order(), is_sound, colours), _legend(
                [(IMAGE_COLOUR, "images", "circle"), (SOUND_COLOUR, "sounds", "triangle")]
            )
        if colouring == "label":
            colours, entries = self._by_label()
        else:
            density = point_density(self._points)
            ranks = (rankdata(density) - 1) / max(1, len(density) - 1)
            ramp = colormaps["viridis"](ranks)
            colours = np.array([_hex(colour) for colour in ramp])
            entries = [(_hex(colormaps["viridis"](value)), name) for value, name in ((0.0, "sparse"), (1.0, "dense"))]
        shapes = [(SHAPE_COLOUR, "images", "circle"), (SHAPE_COLOUR, "sounds", "triangle")]
        return self._scattered(self._order(), is_sound, colours), _legend(
            [*((colour, name, "square") for colour, name in entries), *shapes]
        )

    def _order(self) -> NDArray[np.int64]:
        # Random, so that neither modality covers the other.
        return np.random.default_rng(0).permutation(2 * len(self.layout.numbers))

    def _by_label(self) -> tuple[NDArray[np.str_], list[tuple[str, str]]]:
        found, counts = np.unique(self._labels[self._labels >= 0], return_counts=True)
        shown = found[np.argsort(-counts, kind="stable")][:MOST_LABELS]
        # Twenty distinguishable colours, the ten strong ones first.
        palette = [colormaps["tab20"](i) for i in (*range(0, MOST_LABELS, 2), *range(1, MOST_LABELS, 2))]
        colours = np.full(len(self._labels), NO_LABEL_COLOUR)
        entries = []
        for label, colour in zip(shown.tolist(), palette, strict=False):
            colours[self._labels == label] = _hex(colour)
            entries.append((_hex(colour), self._label_names[label].replace("_", " ")))
        if (colours == NO_LABEL_COLOUR).any():
            entries.append((NO_LABEL_COLOUR, "other or no label"))
        return colours, entries

    def _scattered(self, order: NDArray[np.int64], is_sound: NDArray[np.bool_], colours: NDArray[np.str_]) -> str:
        size = float(np.clip(9000 / len(order), 3.0, 26.0))
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100 * DOTS_PER_UNIT)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        for part, marker in ((order[~is_sound[order]], "o"), (order[is_sound[order]], "^")):
            x, y = self._points[part].T
            axes.scatter(x, y, s=size, c=colours[part].tolist(), marker=marker, linewidths=0, alpha=0.75)
        png = io.BytesIO()
        figure.savefig(png, format="png", transparent=True)
        return data_uri("image/png", png.getvalue())


def _hex(colour: tuple[float, ...] | NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in tuple(colour)[:3])


def _legend(entries: list[tuple[str, str, str]]) -> Markup:
    """Colour, name and shape of each entry; a square stands for a colour that both shapes have."""
    items = Markup("").join(
        Markup('<li><i class="{}" style="background:{}"></i>{}</li>').format(shape, colour, escape(name))
        for colour, name, shape in entries
    )
    return Markup('<ul class="legend">{}</ul>').format(items)
