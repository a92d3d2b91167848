"""Inter-rater agreement: Krippendorff's alpha, and the share of agreeing pairs of raters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def krippendorff_alpha(answers: NDArray[np.float64]) -> float | None:
    """Krippendorff's alpha for nominal answers, some of which may be missing.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section D: 1 − D_o / D_e from the coincidence
    matrix, to which each unit with m answers adds its ordered pairs of answers, divided by m − 1.

    Args:
        answers: (raters, units), NaN for missing answers.

    Returns:
        1 for perfect agreement, 0 for chance agreement, below 0 for systematic disagreement; None if undefined, because
        no unit has two answers, or all comparable answers are the same.
    """
    counts = _counts(answers)
    given = counts.sum(axis=1)
    counts, given = counts[given >= 2], given[given >= 2]
    num_pairable = given.sum()
    same = float(((counts * (counts - 1)).sum(axis=1) / (given - 1)).sum())
    expected_same = float(np.square(counts.sum(axis=0)).sum())
    if num_pairable == 0 or expected_same == num_pairable**2:
        return None
    return float(1 - (num_pairable - 1) * (num_pairable - same) / (num_pairable**2 - expected_same))


def agreeing_share(answers: NDArray[np.float64]) -> float | None:
    """The share of agreeing pairs among all pairs of raters who answered the same unit.

    Args:
        answers: (raters, units), NaN for missing answers.

    Returns:
        In [0, 1]; None if no unit has two answers.
    """
    counts = _counts(answers)
    given = counts.sum(axis=1)
    couples = float((given * (given - 1)).sum())
    return float((counts * (counts - 1)).sum() / couples) if couples else None


def _counts(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(units, values): the number of raters who gave each value to each unit."""
    values = np.unique(answers[~np.isnan(answers)])
    return (answers[:, :, None] == values).sum(axis=0).astype(np.float64)
