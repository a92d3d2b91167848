"""Intervals of retrieval figures: equal to a literal bootstrap, and holding the true figure in 95 % of draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pretrain.ranking.intervals import Figure, Units, _draws, _weighted_medians, bootstrap_intervals

GALLERY = 2000


def population(rng: np.random.Generator, q: int) -> np.ndarray:
    """Ranks as evaluations have them: some first, a long tail, none beyond the gallery."""
    return np.minimum(np.floor(rng.lognormal(4.5, 1.6, q)) + 1, GALLERY)


@pytest.mark.slow
def test_intervals_hold_the_true_figure_in_95_percent_of_samples() -> None:
    """1,000 samples of 400 queries from a known population."""
    figure_of: dict[str, Callable[[np.ndarray], Figure]] = {
        "recall_at_10": lambda ranks: Figure((ranks <= 10).astype(float)),
        "recall_at_100": lambda ranks: Figure((ranks <= 100).astype(float)),
        "mrr": lambda ranks: Figure(1 / ranks),
        "mean_rank": lambda ranks: Figure(ranks, "mean"),
        "median_rank": lambda ranks: Figure(ranks, "median"),
    }
    everything = population(np.random.default_rng(0), 2_000_000)
    true = {
        name: np.median(everything) if name == "median_rank" else figure(everything).values.mean()
        for name, figure in figure_of.items()
    }
    hits, samples = dict.fromkeys(figure_of, 0), 1000
    for number in range(samples):
        ranks = population(np.random.default_rng([1, number]), 400)
        figures = {name: figure(ranks) for name, figure in figure_of.items()}
        intervals = bootstrap_intervals(figures, Units.of([None] * 400), resamples=400, seed=number)
        for name, (low, high) in intervals.items():
            hits[name] += int(low <= true[name] <= high)
    coverage = {name: count / samples for name, count in hits.items()}
    assert all(0.93 <= share <= 0.97 for share in coverage.values()), coverage


def test_queries_of_one_recording_are_drawn_together() -> None:
    """Ten clips of each of 40 recordings, all alike within one: as uncertain as 40 queries, not as 400."""
    rng = np.random.default_rng(3)
    of_recordings = rng.integers(0, 2, 40).astype(float)
    hits = of_recordings.repeat(10)
    names: list[str | None] = [f"recording {number}" for number in np.arange(40).repeat(10)]
    alike = bootstrap_intervals({"r": Figure(hits)}, Units.of(names))["r"]
    alone = bootstrap_intervals({"r": Figure(of_recordings)}, Units.of([None] * 40))["r"]
    as_if = bootstrap_intervals({"r": Figure(hits)}, Units.of([None] * 400))["r"]
    assert alike == pytest.approx(alone)
    assert alike[1] - alike[0] > 2.5 * (as_if[1] - as_if[0])


@settings(max_examples=30)
@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(1, 50).map(float)),
    st.integers(0, 1000),
)
def test_draws_equal_a_literal_bootstrap(ranks: np.ndarray, seed: int) -> None:
    """Every figure of every draw, from the queries written out as often as they were drawn."""
    rng = np.random.default_rng(seed)
    recordings: list[str | None] = [f"recording {number}" for number in rng.integers(0, 5, len(ranks))]
    units = Units.of(recordings)
    drawn_means, drawn_medians = [], []
    for weights in _draws(units, 20, seed):
        for row in weights:
            written_out = np.repeat(ranks, row.astype(int))
            drawn_means.append(written_out.mean())
            drawn_medians.append(np.median(written_out))
            for unit in range(units.count):
                assert len(set(row[units.of_queries == unit])) == 1
            assert row[np.unique(units.of_queries, return_index=True)[1]].sum() == units.count
        order = np.argsort(ranks)
        assert _weighted_medians(ranks[order], weights[:, order]).tolist() == drawn_medians[-len(weights) :]
    figures = {"mean_rank": Figure(ranks, "mean"), "median_rank": Figure(ranks, "median")}
    found = bootstrap_intervals(figures, units, resamples=20, seed=seed)
    assert found["mean_rank"] == pytest.approx(tuple(np.quantile(drawn_means, [0.025, 0.975])))
    assert found["median_rank"] == pytest.approx(tuple(np.quantile(drawn_medians, [0.025, 0.975])))


def test_draws_in_several_parts_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=50)
    units = Units.of([None] * 50)
    figures = {"x": Figure(values, "mean"), "y": Figure(values, "median")}
    whole = bootstrap_intervals(figures, units)
    monkeypatch.setattr("pretrain.ranking.intervals._VALUES_AT_ONCE", 170)
    parts = bootstrap_intervals(figures, units)
    assert {name: pytest.approx(interval) for name, interval in whole.items()} == parts


@pytest.mark.parametrize(("share", "expected"), [(0.0, (0.0, 0.1157)), (1.0, (0.8843, 1.0))])
def test_a_figure_without_spread_has_the_exact_binomial_interval(share: float, expected: tuple[float, float]) -> None:
    """0 and 30 of 30; Clopper and Pearson's interval of 0 of 30 ends at 1 − 0.025^(1/30)."""
    found = bootstrap_intervals({"recall_at_1": Figure(np.full(30, share))}, Units.of([None] * 30))
    assert found["recall_at_1"] == pytest.approx(expected, abs=1e-4)


def test_units_are_recordings_only_where_all_are_known_and_some_shared() -> None:
    assert Units.of(["a", "b", "a"]).name == "recording"
    assert Units.of(["a", "b", "a"]).of_queries.tolist() == [0, 1, 0]
    for recordings in (["a", "b", "c"], ["a", None, "a"], ["a", "", "a"], [None]):
        units = Units.of(list(recordings))
        assert units.name == "query"
        assert units.of_queries.tolist() == list(range(len(recordings)))
