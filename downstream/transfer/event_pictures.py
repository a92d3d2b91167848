"""A picture of predicted sound events: t-SNE of their distributions, coloured by scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from downstream.running.pictures import INK, SOFT, save_figure

EVENTS_NAME = "events_tsne.png"
PERPLEXITY = 30.0
FEWEST_POINTS = 5


def write_event_map(
    folder: Path, distributions: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str], *, seed: int
) -> Path | None:
    """Writes `events_tsne.png`, as Fig. 8 of Hu et al., ECCV 2020.

    Args:
        folder: of the run.
        distributions: (n, events) probabilities.
        labels: (n,) scenes.
        classes: names of the scenes.
        seed: of t-SNE.

    Returns:
        The file; None where there are too few items for a picture.
    """
    if len(distributions) < FEWEST_POINTS:
        return None
    # Perplexity: effective number of neighbours; t-SNE needs several times as many points.
    perplexity = min(PERPLEXITY, (len(distributions) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(distributions)
    return save_figure(draw_event_map(places, labels, classes), folder / EVENTS_NAME)


def draw_event_map(places: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Points of the plane, (n, 2), in a colour for each class."""
    figure = Figure(figsize=(8.0, 5.6))
    axes = figure.add_axes((0.03, 0.04, 0.66, 0.84))
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, len(classes)))
    markers = "osD^v"
    for label, name in enumerate(classes):
        own = places[labels == label]
        if len(own):
            marker = markers[label % len(markers)]
            axes.scatter(own[:, 0], own[:, 1], s=22, color=colours[label], marker=marker, label=name, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#c9c3b6")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5, labelcolor=INK)
    figure.text(0.03, 0.965, "Sound events by scene", fontsize=13, weight="bold", color=INK, va="top")
    caption = "t-SNE of the predicted distribution of sound events of each test pair"
    figure.text(0.03, 0.915, caption, fontsize=8.5, color=SOFT, va="top")
    return figure
