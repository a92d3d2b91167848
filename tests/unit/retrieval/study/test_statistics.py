"""The study's figures: published and hand-computed cases, and slow references."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from retrieval.study.agreement import agreeing_share, agreement_intervals, krippendorff_alpha
from retrieval.study.answers import GivenAnswer
from retrieval.study.folder import Credit, StudyPair
from retrieval.study.rates import (
    NUM_RANDOM_SWAPS,
    SWAPS_SEED,
    least_p_value,
    sign_flip_p_value,
    summarise_differences,
    summarise_rates,
    wilson_interval,
)
from retrieval.study.tally import tally
from shards.errors import UserError

X = math.nan
FOUR_OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
        [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
    ]
)
"""Krippendorff (2011), section C and D: nominal alpha 0.743."""
TWO_OBSERVERS = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float)
"""Krippendorff (2011), section A: alpha 0.095."""

ratings = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.sampled_from([0.0, 1.0, X]))
differences = st.lists(st.integers(-12, 12).map(lambda n: n / 12), min_size=1, max_size=9).map(np.array)


def literal_alpha(answers: NDArray[np.float64]) -> float | None:
    """1 − D_o / D_e, couple by couple of answers."""
    units = [[v for v in column if not math.isnan(v)] for column in answers.T]
    units = [unit for unit in units if len(unit) >= 2]
    everything = [value for unit in units for value in unit]
    n = len(everything)
    observed = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(a != b for a, b in itertools.permutations(everything, 2))
    return None if expected == 0 else 1 - (observed / n) / (expected / (n * (n - 1)))


def test_alpha_of_the_published_examples() -> None:
    assert krippendorff_alpha(FOUR_OBSERVERS) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(TWO_OBSERVERS) == pytest.approx(0.095, abs=5e-4)


@given(ratings)
def test_alpha_is_what_its_definition_says(answers: NDArray[np.float64]) -> None:
    expected = literal_alpha(answers)
    found = krippendorff_alpha(answers)
    assert found is None if expected is None else found == pytest.approx(expected)


@given(ratings)
def test_the_agreeing_share_counts_couples(answers: NDArray[np.float64]) -> None:
    couples = [
        a == b for column in answers.T for a, b in itertools.combinations([v for v in column if not math.isnan(v)], 2)
    ]
    found = agreeing_share(answers)
    assert found is None if not couples else found == pytest.approx(sum(couples) / len(couples))


@given(ratings)
@settings(max_examples=20)
def test_intervals_of_agreement_are_those_of_drawn_units(answers: NDArray[np.float64]) -> None:
    """By `_counts`'s rule only units with two answers count; each draw is repeated as columns and scored literally."""
    kept = answers[:, (~np.isnan(answers)).sum(axis=0) >= 2]
    num_units = kept.shape[1]
    alpha, share = agreement_intervals(answers)
    if num_units < 2:
        assert alpha is share is None
        return
    generator = np.random.default_rng(0)
    draws = generator.multinomial(num_units, np.full(num_units, 1 / num_units), size=2000)
    kinds, times = np.unique(draws, axis=0, return_counts=True)
    samples = [np.repeat(kept, kind, axis=1) for kind in kinds]
    for found, score in ((alpha, krippendorff_alpha), (share, agreeing_share)):
        drawn = np.array([X if (value := score(sample)) is None else value for sample in samples]).repeat(times)
        defined = drawn[~np.isnan(drawn)]
        if score(answers) is None or len(defined) < 1900:
            assert found is None
        else:
            assert found == pytest.approx(tuple(np.quantile(defined, [0.025, 0.975])))


def test_the_interval_of_alpha_holds_it_and_narrows_with_more_pairs() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 400)
    answers = np.where(generator.random((5, 400)) < 0.8, truth, 1 - truth).astype(float)
    widths = []
    for num_pairs in (40, 400):
        interval, _ = agreement_intervals(answers[:, :num_pairs])
        alpha = krippendorff_alpha(answers[:, :num_pairs])
        assert interval is not None
        assert alpha is not None
        assert interval[0] < alpha < interval[1]
        widths.append(interval[1] - interval[0])
    assert widths[0] == pytest.approx(widths[1] * np.sqrt(10), rel=0.3)


def test_agreement_at_its_ends() -> None:
    assert krippendorff_alpha(np.array([[1.0, 0.0], [1.0, 0.0]])) == 1
    assert krippendorff_alpha(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(-0.5)
    assert krippendorff_alpha(np.full((3, 4), X)) is None
    assert agreeing_share(np.full((3, 4), X)) is None


@given(differences)
def test_the_p_value_counts_all_signs(values: NDArray[np.float64]) -> None:
    seen = abs(sum(values))
    signs = list(itertools.product([-1, 1], repeat=len(values)))
    as_far = [abs(sum(s * v for s, v in zip(row, values, strict=True))) >= seen - 1e-9 for row in signs]
    assert sign_flip_p_value(values) == pytest.approx(sum(as_far) / len(as_far))


def test_the_p_value_of_many_raters_is_near_the_exact_one() -> None:
    generator = np.random.default_rng(0)
    few = generator.normal(0.1, 0.2, 16)
    # Raters who see no difference change nothing, but 16 + 4 are too many to count all ways.
    many = np.concatenate([few, np.zeros(4)])
    assert sign_flip_p_value(many) == pytest.approx(sign_flip_p_value(few), abs=0.005)
    assert sign_flip_p_value(np.full(40, 0.5)) == pytest.approx(least_p_value(40))


def test_blocks_of_swaps_are_the_swaps_of_one_piece() -> None:
    values = np.random.default_rng(3).normal(0.02, 0.2, 21)
    bits = np.random.default_rng(SWAPS_SEED).integers(0, 2, (NUM_RANDOM_SWAPS, 21), dtype=np.int8)
    bits[0] = 1
    expected = np.mean(np.abs((2.0 * bits - 1) @ values) >= abs(values.sum()) - 1e-9)
    assert 0 < sign_flip_p_value(values) == expected < 1


def test_the_p_value_of_a_thousand_raters_fits_into_memory() -> None:
    tracemalloc.start()
    try:
        sign_flip_p_value(np.linspace(-0.4, 0.5, 1000))
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()


def test_few_raters_can_show_little() -> None:
    assert sign_flip_p_value(np.full(3, 0.5)) == least_p_value(3) == 0.25
    assert sign_flip_p_value(np.zeros(5)) == 1


def test_the_interval_over_raters() -> None:
    # t(0.975, 3) = 3.18245; rates 0.4, 0.6, 0.6, 0.8: sd = sqrt(0.08 / 3), its mean's half of that.
    summary = summarise_rates(np.array([0.4, 0.6, 0.6, 0.8]), np.full(4, 10.0))
    deviation = math.sqrt(0.08 / 3)
    assert summary.mean == pytest.approx(0.6)
    assert summary.standard_deviation == pytest.approx(deviation)
    assert (summary.low, summary.high) == pytest.approx((0.6 - 3.18245 * deviation / 2, 0.6 + 3.18245 * deviation / 2))
    assert "Student" in summary.method


def test_intervals_of_rates_stay_within_their_range() -> None:
    summary = summarise_rates(np.array([0.9, 1.0]), np.full(2, 10.0))
    assert (summary.low, summary.high) == (pytest.approx(0.95 - 12.7062 * 0.05, abs=1e-4), 1.0)


def test_one_rater_and_raters_without_spread_get_wilsons_interval() -> None:
    # Seven of ten, as in the textbooks: 0.3968 to 0.8922.
    assert wilson_interval(0.7, 10) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    alone = summarise_rates(np.array([0.7]), np.array([10.0]))
    assert (alone.low, alone.high) == wilson_interval(0.7, 10)
    assert alone.standard_deviation is None
    alike = summarise_rates(np.ones(3), np.full(3, 35.0))
    assert alike.low == pytest.approx(1 / (1 + 3.8415 / 35), abs=1e-4)
    assert alike.high == pytest.approx(1)
    assert (
        alone.method
        == "Wilson's over the 10 answers of a rater, because there is only one rater; generalises to other pairs"
    )
    assert alike.method.startswith("Wilson's over the 35 answers of a rater, because there is no spread between raters")
    assert alike.standard_deviation == 0


def test_a_difference_without_spread_has_no_interval() -> None:
    alone = summarise_differences(np.array([0.3]))
    assert (alone.low, alone.high, alone.method) == (None, None, "none: needs two raters")
    # The second is not quite 0.1 in floating point.
    alike = summarise_differences(np.array([0.1, 0.8 - 0.7, 0.1]))
    assert (alike.low, alike.high, alike.standard_deviation) == (None, None, 0)
    assert alike.method == "none: no spread between raters"


def pair(pair_id: str, kind: str) -> StudyPair:
    credit = Credit(pair_id, "", "", "", "")
    return StudyPair(pair_id, kind, 1, 0.0, f"{pair_id}.jpg", f"{pair_id}.mp3", "0" * 64, "0" * 64, credit, credit)  # type: ignore[arg-type]


PAIRS = [pair("1", "true"), pair("2", "retrieved"), pair("3", "true"), pair("4", "retrieved")]


def give(rater: int, answers: str) -> list[GivenAnswer]:
    """Answers to pairs 1, 2 …: y, n, u for unplayable, a dot for none."""
    words = {"y": "yes", "n": "no", "u": "unplayable"}
    return [GivenAnswer(rater, str(i), words[a]) for i, a in enumerate(answers, start=1) if a != "."]


def test_a_study_counted_by_hand() -> None:
    given_answers = give(1, "ynyy") + give(2, "yun.") + give(4, "ynuy") + give(7, "y...")
    counts = tally(PAIRS, given_answers, 0.5)
    assert (counts.num_begun, counts.num_finished) == (4, 2)
    # Rater 2 answered no retrieved pair, rater 7 one pair.
    assert [rater.number for rater in counts.raters] == [1, 4]
    assert counts.left_out == [2, 7]
    assert (counts.num_answers, counts.num_unplayable) == (7, 1)
    assert counts.raters[1].rates == {"true": 1.0, "retrieved": 0.5}
    assert counts.raters[1].answers == {"true": 1, "retrieved": 2}
    assert counts.rates["true"].mean == 1
    assert counts.rates["retrieved"].mean == 0.5
    assert counts.difference.mean == 0.5
    assert counts.p_value == 0.5
    # Both answered pairs 1, 2 and 4, and said the same.
    assert counts.agreement["all"].krippendorff_alpha == 1
    assert counts.agreement["true"].krippendorff_alpha is None
    assert counts.agreement["true"].agreeing_share == 1
    lines = [(line.yes, line.no, line.unplayable) for line in counts.pairs]
    assert lines == [(2, 0, 0), (0, 2, 0), (1, 0, 1), (2, 0, 0)]


def test_how_much_a_rater_must_answer_is_a_choice() -> None:
    given_answers = give(1, "yn..") + give(2, "ynyn")
    assert len(tally(PAIRS, given_answers, 0.5).raters) == 2
    assert len(tally(PAIRS, given_answers, 1.0).raters) == 1
    # 0.07 · 100 is 7.000000000000001 in floating point.
    many = [pair(str(i), ("true", "retrieved")[i % 2]) for i in range(1, 201)]
    assert len(tally(many, give(1, "yn" * 7), 0.07).raters) == 1
    with pytest.raises(UserError, match="none of the"):
        tally(many, give(1, "yn" * 6), 0.07)
    # A kind without any answer has no rate.
    with pytest.raises(UserError, match="raters answered yes or no to 0% of the pairs"):
        tally(PAIRS, give(1, "y.y."), 0.0)
