"""`predictions.csv` of a classifier: each test item with its class, the predicted class, and their probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from downstream.results import write_predictions
from downstream.running.splits import Split


def write_scene_predictions(folder: Path, split: Split, classes: list[str], probabilities: np.ndarray) -> None:
    """Writes `predictions.csv`: for each test item its class, the predicted class, and the probabilities of both."""
    rows: list[list[object]] = []
    for item, row in zip(split.test, probabilities, strict=True):
        best = int(row.argmax())
        rows.append([item.key, classes[item.label], classes[best], f"{row[item.label]:.6f}", f"{row[best]:.6f}"])
    header = ["key", "class", "predicted", "probability_of_class", "probability_of_predicted"]
    write_predictions(folder, header, rows)
