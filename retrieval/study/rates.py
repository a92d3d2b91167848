"""Rates of "yes" over raters: mean, spread, an interval, and a test of the difference between two kinds of pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MOST_EXACT_RATERS = 16
"""2^16 ways of swapping are counted one by one; of more raters, random ones are drawn."""
NUM_RANDOM_SWAPS = 100_000
SWAPS_SEED = 0


@dataclass(frozen=True)
class RateSummary:
    """A figure over raters.

    Attributes:
        mean: of the raters' figures.
        standard_deviation: between raters, n − 1 in the denominator; None for one rater.
        low, high: ends of the 95 % interval; None where there is none.
        method: how the interval was made.
    """

    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None
    method: str


def summarise_rates(rates: NDArray[np.float64], answers_each: NDArray[np.float64]) -> RateSummary:
    """Sums up one rate a rater.

    The interval is Student's t over raters: what other raters would say of the same pairs. Where raters show no
    spread, as one alone does, it is Wilson's over the answers of one rater.

    Args:
        rates: (raters,) in [0, 1].
        answers_each: (raters,) how many answers each rate is of.
    """
    mean = float(rates.mean())
    if len(rates) > 1 and np.ptp(rates) > 0:
        summary = summarise_differences(rates)
        assert summary.low is not None
        assert summary.high is not None
        low, high = max(0.0, summary.low), min(1.0, summary.high)
        return RateSummary(mean, summary.standard_deviation, low, high, summary.method)
    low, high = wilson_interval(mean, float(answers_each.mean()))
    return RateSummary(mean, 0.0 if len(rates) > 1 else None, low, high, "Wilson, over one rater's answers")


def summarise_differences(differences: NDArray[np.float64]) -> RateSummary:
    """Sums up one difference a rater, with Student's t interval over raters, which takes two of them."""
    from scipy import stats  # takes a second to load, and only reports need it

    n, mean = len(differences), float(differences.mean())
    if n == 1:
        return RateSummary(mean, None, None, None, "none: it takes two raters")
    deviation = float(differences.std(ddof=1))
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return RateSummary(mean, deviation, mean - margin, mean + margin, "Student's t, over raters")


def wilson_interval(rate: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927).

    Args:
        rate: what was seen, in [0, 1].
        count: of how many.
    """
    from scipy import stats

    z_squared = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) ** 2
    centre = (rate + z_squared / (2 * count)) / (1 + z_squared / count)
    margin = math.sqrt(z_squared * rate * (1 - rate) / count + (z_squared / (2 * count)) ** 2) / (1 + z_squared / count)
    return max(0.0, centre - margin), min(1.0, centre + margin)


def sign_flip_p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of paired differences under the hypothesis that each could as well have the other sign.

    Fisher's randomisation test: the share of sign patterns whose mean is at least as far from 0 as the one seen; exact
    up to 16 raters, else over 100,000 random patterns with a fixed seed, the one seen among them.

    Args:
        differences: (raters,) one rate minus the other.
    """
    n = len(differences)
    if n <= MOST_EXACT_RATERS:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(SWAPS_SEED).integers(0, 2, (NUM_RANDOM_SWAPS, n), dtype=np.int8)
        bits[0] = 1
    sums = np.abs((2.0 * bits - 1) @ differences)
    seen = abs(float(differences.sum()))
    # Sums of the same rates in another order may differ in their last digits.
    return float(np.mean(sums >= seen - 1e-9))


def least_p_value(num_raters: int) -> float:
    """The smallest p-value that `sign_flip_p_value` can give: of 2^n patterns, the one seen and its opposite."""
    return 2.0 ** (1 - num_raters) if num_raters <= MOST_EXACT_RATERS else 1 / NUM_RANDOM_SWAPS
