"""How far raters agree with one another: Krippendorff's alpha, and the share of couples who said the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def krippendorff_alpha(answers: NDArray[np.float64]) -> float | None:
    """Krippendorff's alpha for nominal answers, some of which may be missing.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section D: 1 − D_o / D_e from the matrix of
    coincidences, to which each unit adds its ordered couples of answers, divided by one less than its answers.

    Args:
        answers: (raters, units), NaN where a rater gave none.

    Returns:
        1 for perfect agreement, 0 for that of chance, below 0 for systematic disagreement; None where it is not
        defined: no unit has two answers, or all that can be compared are the same.
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
    """Of all couples of raters who answered the same unit, the share who said the same.

    Args:
        answers: (raters, units), NaN where a rater gave none.

    Returns:
        In [0, 1]; None where no unit has two answers.
    """
    counts = _counts(answers)
    given = counts.sum(axis=1)
    couples = float((given * (given - 1)).sum())
    return float((counts * (counts - 1)).sum() / couples) if couples else None


def _counts(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(units, values): how many raters gave a unit each of the values that occur."""
    values = np.unique(answers[~np.isnan(answers)])
    return (answers[:, :, None] == values).sum(axis=0).astype(np.float64)
