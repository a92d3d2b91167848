"""Scores of classifiers and of land-cover maps, as scikit-learn defines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


def classification_scores(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as means over classes weighted by their number of items.

    Args:
        truth: (n,) labels.
        predicted: (n,) labels.

    Returns:
        `accuracy`, `precision`, `recall`, `f1`, fractions in [0, 1]; a class that is never predicted has precision 0.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, average="weighted", zero_division=0)
    values = (accuracy_score(truth, predicted), precision, recall, f1)
    return dict(zip(("accuracy", "precision", "recall", "f1"), map(float, values), strict=True))


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """(classes, classes): entry (i, j) counts items of class i that were taken for class j."""
    matrix: Any = confusion_matrix(truth, predicted, labels=np.arange(num_classes))
    return matrix


def mean_and_sd(of_seeds: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """The mean over seeds of each score, and beside it as `<score>_sd` the sample standard deviation.

    Args:
        of_seeds: the same scores of every seed; empty on processes that score nothing.

    Returns:
        Twice as many entries; a standard deviation of one seed is None.
    """
    result: dict[str, float | None] = {}
    for name in of_seeds[0] if of_seeds else ():
        values = np.array([scores[name] for scores in of_seeds], dtype=np.float64)
        result[name] = float(values.mean())
        result[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
    return result
