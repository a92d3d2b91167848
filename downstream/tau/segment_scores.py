"""Scores of one-second segments as in DCASE 2021, task 1B: means over classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def class_wise_scores(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Log loss and accuracy of each class's segments, and their means over the classes that have any.

    Args:
        truth: (n,) labels.
        probabilities: (n, classes); rows add up to 1.

    Returns:
        `log_loss` in nats, the mean over classes of −log p(true class), where a probability counts as at least the
        machine epsilon of float32, as in scikit-learn; `accuracy`, a fraction.
    """
    smallest = np.finfo(np.float32).eps
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth].astype(np.float64), smallest, 1.0)
    right = probabilities.argmax(1) == truth
    classes = np.unique(truth)
    return {
        "log_loss": float(np.mean([-np.log(of_truth[truth == label]).mean() for label in classes])),
        "accuracy": float(np.mean([right[truth == label].mean() for label in classes])),
    }
