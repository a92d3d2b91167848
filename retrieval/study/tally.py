"""Computes a study's results from its answers: rates of both kinds, their difference, and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking.intervals import Interval
from retrieval.study.agreement import agreeing_share, agreement_intervals, krippendorff_alpha
from retrieval.study.answers import GivenAnswer
from retrieval.study.folder import StudyPair
from retrieval.study.rates import (
    RateSummary,
    least_p_value,
    sign_flip_p_value,
    summarise_differences,
    summarise_rates,
)
from shards.errors import UserError

KINDS = ("true", "retrieved")


@dataclass(frozen=True)
class Agreement:
    """Agreement of the raters on a subset of the pairs, with 95 % intervals over pairs; None if undefined."""

    krippendorff_alpha: float | None
    agreeing_share: float | None
    krippendorff_alpha_interval: Interval | None
    agreeing_share_interval: Interval | None


@dataclass(frozen=True)
class RaterLine:
    """A counted rater: number, and for each kind the rate of "yes" and the number of answers."""

    number: int
    rates: dict[str, float]
    answers: dict[str, int]


@dataclass(frozen=True)
class PairLine:
    """Answers of the counted raters to one pair."""

    id: str
    yes: int
    no: int
    unplayable: int


@dataclass(frozen=True)
class Tally:
    """The results of a study.

    Attributes:
        num_begun: number of raters with at least one answer.
        num_finished: number of raters who answered every pair, including unplayable sounds.
        raters: the counted raters.
        left_out: numbers of the raters with too few answers to be counted.
        num_answers, num_unplayable: number of "yes" and "no" answers and of unplayable sounds of the counted raters.
        rates: for each kind, the rate of "yes".
        difference: rate of true pairs minus rate of retrieved pairs.
        p_value: p-value of that difference.
        least_p_value: the smallest p-value possible with this number of raters.
        agreement: agreement on "all" pairs and on those of each kind.
        pairs: all pairs, in the order of the study.
    """

    num_begun: int
    num_finished: int
    raters: list[RaterLine]
    left_out: list[int]
    num_answers: int
    num_unplayable: int
    rates: dict[str, RateSummary]
    difference: RateSummary
    p_value: float
    least_p_value: float
    agreement: dict[str, Agreement]
    pairs: list[PairLine]


def tally(pairs: Sequence[StudyPair], given: Sequence[GivenAnswer], least_share: float) -> Tally:
    """Computes the results of a study.

    Args:
        pairs: the study's pairs.
        given: the last answer of each rater to each pair.
        least_share: minimum share of pairs of each kind that a rater must have answered "yes" or "no" to be counted.

    Raises:
        UserError: no rater answered enough pairs.
    """
    numbers = sorted({answer.rater for answer in given})
    matrix, unplayable = _matrices(pairs, given, numbers)
    of_kind = {kind: np.array([pair.kind == kind for pair in pairs]) for kind in KINDS}
    answered = {kind: (~np.isnan(matrix[:, of_kind[kind]])).sum(axis=1) for kind in KINDS}
    # Tolerance for rounding: 0.07 · 100 is slightly more than 7.
    counted = np.all([answered[k] >= max(1, least_share * of_kind[k].sum() - 1e-9) for k in KINDS], axis=0)
    if not counted.any():
        raise UserError(
            f"none of the {len(numbers)} raters answered yes or no to {least_share:.0%} of the pairs of each kind; "
            "wait for more answers, or lower --least-share"
        )
    kept, kept_unplayable = matrix[counted], unplayable[counted]
    rates = {kind: np.nanmean(kept[:, of_kind[kind]], axis=1) for kind in KINDS}
    differences = rates["true"] - rates["retrieved"]
    counts = {kind: answered[kind][counted] for kind in KINDS}
    kept_numbers = [number for number, is_counted in zip(numbers, counted, strict=True) if is_counted]
    return Tally(
        num_begun=len(numbers),
        num_finished=int((~np.isnan(matrix) | unplayable).all(axis=1).sum()),
        raters=[
            RaterLine(number, {k: float(rates[k][row]) for k in KINDS}, {k: int(counts[k][row]) for k in KINDS})
            for row, number in enumerate(kept_numbers)
        ],
        left_out=[number for number in numbers if number not in kept_numbers],
        num_answers=int((~np.isnan(kept)).sum()),
        num_unplayable=int(kept_unplayable.sum()),
        rates={kind: summarise_rates(rates[kind], counts[kind].astype(np.float64)) for kind in KINDS},
        difference=summarise_differences(differences),
        p_value=sign_flip_p_value(differences),
        least_p_value=least_p_value(len(differences)),
        agreement={"all": _agreement(kept)} | {kind: _agreement(kept[:, of_kind[kind]]) for kind in KINDS},
        pairs=_pair_lines(pairs, kept, kept_unplayable),
    )


def _pair_lines(
    pairs: Sequence[StudyPair], answers: NDArray[np.float64], unplayable: NDArray[np.bool_]
) -> list[PairLine]:
    return [
        PairLine(pair.id, *(int(np.sum(column)) for column in columns))
        for pair, *columns in zip(pairs, (answers == 1).T, (answers == 0).T, unplayable.T, strict=True)
    ]


def _matrices(
    pairs: Sequence[StudyPair], given: Sequence[GivenAnswer], numbers: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(raters, pairs): 1 for "yes", 0 for "no", NaN for neither; and a mask of unplayable sounds."""
    rows = {number: row for row, number in enumerate(numbers)}
    columns = {pair.id: column for column, pair in enumerate(pairs)}
    matrix = np.full((len(rows), len(columns)), np.nan)
    unplayable = np.zeros(matrix.shape, dtype=np.bool_)
    for answer in given:
        place = rows[answer.rater], columns[answer.pair]
        if answer.answer == "unplayable":
            unplayable[place] = True
        else:
            matrix[place] = float(answer.answer == "yes")
    return matrix, unplayable


def _agreement(answers: NDArray[np.float64]) -> Agreement:
    return Agreement(krippendorff_alpha(answers), agreeing_share(answers), *agreement_intervals(answers))
