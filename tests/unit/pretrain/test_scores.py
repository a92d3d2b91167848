"""One form for shares everywhere: percent with two decimals, and never a zero for what is not zero."""

from __future__ import annotations

import pytest

from pretrain.scores import COUNT, PERCENT, RANK, SECONDS


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.00"), (1.0, "100.00"), (0.12345, "12.35"), (5e-5, "0.01"), (4e-5, "<0.01"), (1e-9, "<0.01")],
)
def test_shares_are_shown_in_percent(value: float, shown: str) -> None:
    assert PERCENT.show(value) == shown


def test_other_units_keep_their_form() -> None:
    assert [RANK.show(1234.5), COUNT.show(1e6), SECONDS.show(0.04), SECONDS.show(-2.0)] == [
        *("1,234.5", "1,000,000", "<0.1", "-2.0")
    ]
