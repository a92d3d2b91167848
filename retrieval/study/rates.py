"""Rates of "yes" over raters: mean, spread, confidence interval, and a test of the difference between two kinds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MOST_EXACT_RATERS = 16
"""For up to this many raters, all 2^n sign patterns are enumerated; for more, they are sampled."""
NUM_RANDOM_SWAPS = 100_000
SWAPS_SEED = 0
BLOCK_SWAPS = 1000
"""Random swaps held in memory at once. It divides their total and is a multiple of 4, the draws per random word, so
that the result is the same as without blocks."""
LEAST_SPREAD = 1e-9
"""Smaller differences are rounding errors."""


@dataclass(frozen=True)
class RateSummary:
    """Summary of a value over raters.

    Attributes:
        mean: mean over raters.
        standard_deviation: between raters, with n − 1 in the denominator; None for one rater.
        low, high: bounds of the 95 % confidence interval; None if undefined.
        method: how the interval was computed.
    """

    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None
    method: str


def summarise_rates(rates: NDArray[np.float64], answers_each: NDArray[np.float64]) -> RateSummary:
    """Summarises one rate per rater.

    The confidence interval is Student's t over raters, which generalises to other raters on the same pairs. If there
    is no spread between raters, or only one rater, it is Wilson's over the number of answers of one rater, which
    generalises to other pairs.

    Args:
        rates: (raters,) in [0, 1].
        answers_each: (raters,) number of answers of each rater.
    """
    mean = float(rates.mean())
    summary = summarise_differences(rates)
    if summary.low is not None and summary.high is not None:
        low, high = max(0.0, summary.low), min(1.0, summary.high)
        return RateSummary(mean, summary.standard_deviation, low, high, summary.method)
    count = float(answers_each.mean())
    low, high = wilson_interval(mean, count)
    why = "there is only one rater" if len(rates) == 1 else "there is no spread between raters"
    method = f"Wilson's over the {round(count, 1):g} answers of a rater, because {why}; generalises to other pairs"
    return RateSummary(mean, summary.standard_deviation, low, high, method)


def summarise_differences(differences: NDArray[np.float64]) -> RateSummary:
    """Summarises one difference per rater, with Student's t interval over raters, which needs two that differ."""
    from scipy import stats  # takes a second to load and is needed only for reports

    n, mean = len(differences), float(differences.mean())
    if n == 1:
        return RateSummary(mean, None, None, None, "none: needs two raters")
    if np.ptp(differences) < LEAST_SPREAD:
        return RateSummary(mean, 0.0, None, None, "none: no spread between raters")
    deviation = float(differences.std(ddof=1))
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return RateSummary(
        mean, deviation, mean - margin, mean + margin, "Student's t over raters; generalises to other raters"
    )


def wilson_interval(rate: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927).

    Args:
        rate: the observed proportion, in [0, 1].
        count: number of observations.
    """
    from scipy import stats

    z_squared = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) ** 2
    centre = (rate + z_squared / (2 * count)) / (1 + z_squared / count)
    margin = math.sqrt(z_squared * rate * (1 - rate) / count + (z_squared / (2 * count)) ** 2) / (1 + z_squared / count)
    return max(0.0, centre - margin), min(1.0, centre + margin)


def sign_flip_p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of paired differences under the null hypothesis that their signs are random.

    Fisher's randomisation test: the share of sign patterns whose mean is at least as far from 0 as the observed one.
    Exact for up to 16 raters, otherwise over 100,000 random patterns with a fixed seed, including the observed one.

    Args:
        differences: (raters,) one rate minus the other.
    """
    seen = abs(float(differences.sum()))
    num_as_far, num_swaps = 0, 0
    for bits in _swaps(len(differences)):
        sums = np.abs((2.0 * bits - 1) @ differences)
        # Equal sums may differ by rounding.
        num_as_far += int(np.sum(sums >= seen - 1e-9))
        num_swaps += len(bits)
    return num_as_far / num_swaps


def least_p_value(num_raters: int) -> float:
    """The smallest possible p-value of `sign_flip_p_value`: 2 of 2^n patterns, the observed one and its opposite."""
    return 2.0 ** (1 - num_raters) if num_raters <= MOST_EXACT_RATERS else 1 / NUM_RANDOM_SWAPS


def _swaps(n: int) -> Iterator[NDArray[np.integer]]:
    """Yields blocks (swaps, n): 1 if a rater's difference keeps its sign, 0 if it is swapped."""
    if n <= MOST_EXACT_RATERS:
        yield (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return
    generator = np.random.default_rng(SWAPS_SEED)
    for start in range(0, NUM_RANDOM_SWAPS, BLOCK_SWAPS):
        bits = generator.integers(0, 2, (BLOCK_SWAPS, n), dtype=np.int8)
        if start == 0:
            bits[0] = 1  # the observed pattern
        yield bits
