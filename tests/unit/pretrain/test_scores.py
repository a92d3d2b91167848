"""Shares are shown in percent, other fractions with three decimals, and what is not zero never as zero."""

from __future__ import annotations

import pytest

from pretrain.ranking.scores import LARGE_RECALLS, MRR, NDCG_AT_10, RECALL_AT_10_PERCENT, RECALLS
from pretrain.scores import COUNT, FRACTION, PERCENT, RANK, SECONDS


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.00"), (1.0, "100.00"), (0.12345, "12.35"), (5e-5, "0.01"), (4e-5, "<0.01"), (1e-9, "<0.01")],
)
def test_shares_are_shown_in_percent(value: float, shown: str) -> None:
    assert PERCENT.show(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0.000"), (1.0, "1.000"), (0.2996, "0.300"), (0.0022, "0.002"), (4e-4, "<0.001")]
)
def test_other_fractions_are_shown_with_three_decimals(value: float, shown: str) -> None:
    assert FRACTION.show(value) == shown


def test_recalls_are_percent_and_mrr_is_none() -> None:
    assert all(score.is_percent for score in (*RECALLS.values(), *LARGE_RECALLS.values(), RECALL_AT_10_PERCENT))
    assert not MRR.is_percent
    assert not NDCG_AT_10.is_percent
    assert MRR.unit.show(0.125) == NDCG_AT_10.unit.show(0.125) == "0.125"


def test_other_units_keep_their_form() -> None:
    assert [RANK.show(1234.5), COUNT.show(1e6), SECONDS.show(0.04), SECONDS.show(-2.0)] == [
        *("1,234.5", "1,000,000", "<0.1", "-2.0")
    ]
