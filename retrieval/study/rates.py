"""Rates of "yes" over raters: mean, spread, an interval, and a test of the difference between two kinds of pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MOST_EXACT_RATERS = 16
"""2^16 ways of swapping are counted one by one; of more raters, random ones are drawn."""
NUM_RANDOM_SWAPS = 100_000
SWAPS_SEED = 0
BLOCK_SWAPS = 1000
"""Random swaps held in memory at once; a divisor of their number and a multiple of 4, the draws in one random word, so
that blocks draw what one piece would."""
LEAST_SPREAD = 1e-9
"""Equal figures that were computed in different ways may differ by less."""


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
    spread, as one alone does, it is Wilson's over as many answers as one rater gave: what would be said of other pairs.

    Args:
        rates: (raters,) in [0, 1].
        answers_each: (raters,) how many answers each rate is of.
    """
    mean = float(rates.mean())
    summary = summarise_differences(rates)
    if summary.low is not None and summary.high is not None:
        low, high = max(0.0, summary.low), min(1.0, summary.high)
        return RateSummary(mean, summary.standard_deviation, low, high, summary.method)
    count = float(answers_each.mean())
    low, high = wilson_interval(mean, count)
    why = "there is one rater" if len(rates) == 1 else "there is no spread between raters"
    method = f"Wilson's over the {round(count, 1):g} answers of a rater, as {why}; it speaks of other pairs"
    return RateSummary(mean, summary.standard_deviation, low, high, method)


def summarise_differences(differences: NDArray[np.float64]) -> RateSummary:
    """Sums up one difference a rater, with Student's t interval over raters, which takes two who differ."""
    from scipy import stats  # takes a second to load, and only reports need it

    n, mean = len(differences), float(differences.mean())
    if n == 1:
        return RateSummary(mean, None, None, None, "none: it takes two raters")
    if np.ptp(differences) < LEAST_SPREAD:
        return RateSummary(mean, 0.0, None, None, "none: no spread between raters")
    deviation = float(differences.std(ddof=1))
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return RateSummary(
        mean, deviation, mean - margin, mean + margin, "Student's t over raters; it speaks of other raters"
    )


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
    seen = abs(float(differences.sum()))
    num_as_far, num_swaps = 0, 0
    for bits in _swaps(len(differences)):
        sums = np.abs((2.0 * bits - 1) @ differences)
        # Sums of the same rates in another order may differ in their last digits.
        num_as_far += int(np.sum(sums >= seen - 1e-9))
        num_swaps += len(bits)
    return num_as_far / num_swaps


def least_p_value(num_raters: int) -> float:
    """The smallest p-value that `sign_flip_p_value` can give: of 2^n patterns, the one seen and its opposite."""
    return 2.0 ** (1 - num_raters) if num_raters <= MOST_EXACT_RATERS else 1 / NUM_RANDOM_SWAPS


def _swaps(n: int) -> Iterator[NDArray[np.integer]]:
    """Blocks of rows (swaps, n): 1 where a rater's difference keeps its sign, 0 where it is swapped."""
    if n <= MOST_EXACT_RATERS:
        yield (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return
    generator = np.random.default_rng(SWAPS_SEED)
    for start in range(0, NUM_RANDOM_SWAPS, BLOCK_SWAPS):
        bits = generator.integers(0, 2, (BLOCK_SWAPS, n), dtype=np.int8)
        if start == 0:
            bits[0] = 1  # the one seen
        yield bits
