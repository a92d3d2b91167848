"""The scores of the benchmarks, each declared once, and the computation of classification scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pretrain.scores import NATS, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ACCURACY = Score("accuracy", "Accuracy")
PRECISION = Score("precision", "Precision")
RECALL = Score("recall", "Recall")
F1 = Score("f1", "F1")
OVERALL_ACCURACY = Score("overall_accuracy", "OA")
MEAN_IOU = Score("mean_iou", "mIoU")
MEAN_AVERAGE_PRECISION = Score("mean_average_precision", "mAP")
LOG_LOSS = Score("log_loss", "Log loss", NATS, "lower")


def classification_scores(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    """Computes accuracy, and precision, recall and F1 as means over classes weighted by their number of items.

    Args:
        truth: (n,) labels.
        predicted: (n,) labels.

    Returns:
        `accuracy`, `precision`, `recall`, `f1`, fractions in [0, 1]; a class that is never predicted has precision 0.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, average="weighted", zero_division=0)
    values = (accuracy_score(truth, predicted), precision, recall, f1)
    return {score.key: float(value) for score, value in zip((ACCURACY, PRECISION, RECALL, F1), values, strict=True)}


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """(classes, classes): entry (i, j) counts items of class i predicted as class j."""
    from sklearn.metrics import confusion_matrix

    matrix: Any = confusion_matrix(truth, predicted, labels=range(num_classes))
    return matrix


def mean_and_sd(of_seeds: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """Mean of each score over seeds, and as `<score>_sd` its sample standard deviation.

    Args:
        of_seeds: the same scores of every seed; empty on processes that score nothing.

    Returns:
        Twice as many entries; a standard deviation of one seed is None.
    """
    import numpy as np

    result: dict[str, float | None] = {}
    for name in of_seeds[0] if of_seeds else ():
        values = np.array([scores[name] for scores in of_seeds], dtype=np.float64)
        result[name] = float(values.mean())
        result[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
    return result
