"""Scores of land-cover maps, from one confusion matrix a tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def tile_confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """(classes, classes): entry (i, j) counts pixels of class i that were predicted as class j.

    Args:
        truth: labels of any shape; a label of `num_classes` or more is unknown and counts nowhere.
        predicted: labels below `num_classes`, of the same shape.
        num_classes: of the benchmark.
    """
    known = truth < num_classes
    pairs = truth[known].astype(np.int64) * num_classes + predicted[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(matrix: NDArray[np.int64]) -> float | None:
    """Share of known pixels that were predicted correctly; None if no pixel is known."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else None


def class_ious(matrix: NDArray[np.int64]) -> list[float | None]:
    """Intersection over union of each class; None for one that is neither there nor predicted anywhere.

    A class that was predicted but does not occur has IoU 0.
    """
    hits = np.diag(matrix)
    unions = matrix.sum(0) + matrix.sum(1) - hits
    return [int(hit) / int(union) if union else None for hit, union in zip(hits, unions, strict=True)]


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """The mean of those that are not None; None where all are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def landcover_scores(matrices: Sequence[NDArray[np.int64]], classes: Sequence[str]) -> dict[str, Any]:
    """The scores of a set of tiles.

    Args:
        matrices: a confusion matrix a tile, of its known pixels.
        classes: names.

    Returns:
        `overall_accuracy`, the mean of the tiles' accuracies, each tile counting the same however much of it is known,
        as in the authors' code (tiles without a known pixel are left out); `pooled_accuracy`, over the pixels of
        all tiles; `mean_iou`, the mean of the classes' IoU from the sum of all matrices, and `iou`, those by class. A
        class that is absent (neither there nor predicted) is None and left out of the mean.
    """
    pooled = np.sum(matrices, axis=0)
    ious = class_ious(pooled)
    return {
        "overall_accuracy": mean_of_known([accuracy(matrix) for matrix in matrices]),
        "pooled_accuracy": accuracy(pooled),
        "mean_iou": mean_of_known(ious),
        "iou": dict(zip(classes, ious, strict=True)),
    }
