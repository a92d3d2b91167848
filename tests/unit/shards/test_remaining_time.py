"""The remaining time: none before enough is known, exact at a steady pace whatever the start, and within the paces."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.remaining_time import LEAST_SECONDS, LEAST_UNITS, MOST_POINTS, START_SECONDS, RemainingTime

SECONDS = st.floats(0.01, 100)
STEPS = st.lists(st.tuples(st.integers(1, 5), SECONDS), min_size=1, max_size=200)
"""Units that finish together, and the seconds that they took."""


def estimates(steps: list[tuple[int, float]], total: int, *, done: int = 0) -> list[tuple[float, int, float | None]]:
    """Time, count and estimate after each step."""
    remaining, found = RemainingTime(), []
    times, counts = accumulate(seconds for _, seconds in steps), accumulate(units for units, _ in steps)
    for now, count in zip(times, counts, strict=True):
        remaining.reached(done + count, now)
        found.append((now, done + count, remaining.seconds_left(total)))
    return found


@given(start=st.floats(0.01, 1e4), pace=st.floats(START_SECONDS + 0.01, 100), done=st.integers(0, 1000))
def test_at_a_steady_pace_it_is_exact_however_long_the_start_was(start: float, pace: float, done: int) -> None:
    total = done + 120
    steps = [(1, start), *[(1, pace)] * 99]
    known = [(count, left) for _, count, left in estimates(steps, total, done=done) if left is not None]
    assert len(known) >= 80
    for count, left in known:
        assert left == pytest.approx((total - count) * pace)


@given(slow=st.lists(SECONDS, min_size=1, max_size=50), pace=st.floats(0.6, 5))
def test_a_slow_beginning_is_forgotten_when_as_much_time_has_passed_again(slow: list[float], pace: float) -> None:
    steady = 2 * LEAST_UNITS + int((LEAST_SECONDS + 1.2 * sum(slow)) / pace) + 2
    total = len(slow) + steady + 10
    assert estimates([*((1, seconds) for seconds in slow), *[(1, pace)] * steady], total)[-1][2] == pytest.approx(
        10 * pace
    )


@given(STEPS)
def test_it_lies_between_what_the_slowest_and_the_fastest_unit_would_take(steps: list[tuple[int, float]]) -> None:
    paces = [seconds / units for units, seconds in steps]
    total = sum(units for units, _ in steps) + 7
    for _, count, left in estimates(steps, total):
        if left is not None:
            assert (total - count) * min(paces) * 0.999 <= left <= (total - count) * max(paces) * 1.001


@given(STEPS)
def test_it_is_none_until_enough_units_and_seconds_have_passed_and_then_stays_known(
    steps: list[tuple[int, float]],
) -> None:
    total = sum(units for units, _ in steps) + 1
    found = estimates(steps, total)
    first = found[0][0]
    start = [(now, count) for now, count, _ in found if now - first <= START_SECONDS][-1]
    for now, count, left in found:
        is_enough = count - start[1] >= LEAST_UNITS and now - start[0] >= LEAST_SECONDS
        assert (left is not None) == is_enough


@given(STEPS)
def test_finished_work_has_none(steps: list[tuple[int, float]]) -> None:
    total = sum(units for units, _ in steps)
    assert estimates(steps, total)[-1][2] is None
    assert RemainingTime().seconds_left(total) is None


def test_units_that_workers_finish_at_once_at_the_start_are_no_pace() -> None:
    """Eight workers end their first units together after 20 s, and then one a second."""
    steps = [(1, 20.0), *[(1, 0.001)] * 7, *[(1, 1.0)] * 10]
    assert estimates(steps, 118)[-1][2] == pytest.approx(100, rel=0.02)


def test_pauses_that_recur_are_counted() -> None:
    epochs = [*[(1, 1.0)] * 9, (1, 11.0)] * 20
    assert estimates(epochs, 400)[-1][2] == pytest.approx(200 * 2, rel=0.1)


def test_a_count_that_stays_says_nothing() -> None:
    remaining = RemainingTime()
    for now in range(20):
        remaining.reached(min(now, 10), float(now))
    assert remaining.seconds_left(20) == pytest.approx(10)


def test_long_work_needs_no_more_memory() -> None:
    remaining = RemainingTime()
    for number in range(100_000):
        remaining.reached(number, 0.3 * number)
    assert len(remaining._points) <= 2 * MOST_POINTS
    assert remaining.seconds_left(100_009) == pytest.approx(10 * 0.3)
