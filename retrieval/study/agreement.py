"""Inter-rater agreement: Krippendorff's alpha and the share of agreeing pairs of raters, with their intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking.intervals import LEVEL, RESAMPLES, Interval

BLOCK_DRAWS = 250
"""Resamples held in memory at once; it divides their total."""


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


def agreement_intervals(answers: NDArray[np.float64]) -> tuple[Interval | None, Interval | None]:
    """95 % intervals of `krippendorff_alpha` and `agreeing_share`: percentile bootstrap over units.

    Units are drawn with replacement 2,000 times, with a fixed seed and all of their answers; the intervals generalise
    to other units, judged by the same raters.

    Args:
        answers: (raters, units), NaN for missing answers.

    Returns:
        Of each figure, lower and upper bound; None if the figure is undefined in the answers or in more than 5 % of the
        resamples.
    """
    counts = _counts(answers)
    given = counts.sum(axis=1)
    counts, given = counts[given >= 2], given[given >= 2]
    if len(given) < 2:
        return None, None
    alike = (counts * (counts - 1)).sum(axis=1)
    generator, drawn = np.random.default_rng(0), []
    for _ in range(RESAMPLES // BLOCK_DRAWS):
        weights = generator.multinomial(len(given), np.full(len(given), 1 / len(given)), size=BLOCK_DRAWS)
        num_pairable, same = weights @ given, weights @ (alike / (given - 1))
        expected_same = np.square(weights @ counts).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            alpha = 1 - (num_pairable - 1) * (num_pairable - same) / (num_pairable**2 - expected_same)
            share = (weights @ alike) / (weights @ (given * (given - 1)))
        drawn.append((np.where(num_pairable**2 == expected_same, np.nan, alpha), share))
    alphas, shares = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return None if krippendorff_alpha(answers) is None else _middle(alphas), _middle(shares)


def _middle(drawn: NDArray[np.float64]) -> Interval | None:
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < LEVEL * len(drawn):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _counts(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(units, values): the number of raters who gave each value to each unit."""
    values = np.unique(answers[~np.isnan(answers)])
    return (answers[:, :, None] == values).sum(axis=0).astype(np.float64)
