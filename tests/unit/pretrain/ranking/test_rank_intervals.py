"""Intervals of ranking metrics are of the very figures that the metrics hold, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.ranking import RankBounds, ranking_metrics
from pretrain.ranking.intervals import Figure, Units, bootstrap_intervals
from pretrain.ranking.rank_intervals import figures_of, ranking_intervals


@given(st.integers(1, 120), st.integers(0, 100))
def test_figures_give_the_metrics(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tied = rng.integers(1, n + 1, n)
    bounds = RankBounds(rng.integers(0, n - tied + 1), tied)
    metrics = ranking_metrics(bounds.nearer, bounds.tied)
    figures = figures_of(bounds)
    assert figures.keys() == {key for key, value in metrics.items() if value is not None}
    for key, figure in figures.items():
        value = np.median(figure.values) if figure.kind == "median" else figure.values.mean()
        assert value == pytest.approx(metrics[key])


def test_both_directions_have_the_intervals_of_their_ranks() -> None:
    rng = np.random.default_rng(0)
    there, back = (RankBounds(rng.integers(0, 50, 50), np.ones(50, np.int64)) for _ in range(2))
    units = Units.of([f"recording {number // 5}" for number in range(50)])
    found = ranking_intervals({"image_to_sound": there, "sound_to_image": back}, units, resamples=300)
    assert (found["level"], found["unit"], found["num_units"]) == (0.95, "recording", 10)
    for direction, bounds in (("image_to_sound", there), ("sound_to_image", back)):
        figure = {"median_rank": Figure(bounds.nearer + 1.0, "median")}
        expected = bootstrap_intervals(figure, units, resamples=300)["median_rank"]
        assert found[direction]["median_rank"] == list(expected)
        assert "recall_at_100" not in found[direction]


@pytest.mark.parametrize(
    ("recording", "name"),
    [("a", "recording"), (3, "recording"), (True, "query"), (["a"], "query"), (None, "query"), ("", "query")],
)
def test_recordings_of_pairs_may_be_anything(recording: object, name: str) -> None:
    assert Units.of_pairs([{"recording": recording}, {"recording": recording}]).name == name
    assert Units.of_pairs([{"recording": " a  b"}, {"recording": "a b "}]).count == 1
    assert Units.of_pairs([{"recording": "a"}, None]).name == "query"
