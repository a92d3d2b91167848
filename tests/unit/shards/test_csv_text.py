"""CSV for spreadsheets: nothing in it is run, numbers stay numbers, and readers get every cell back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.csv_text import RUN_BY_SPREADSHEETS, csv_text


@pytest.mark.parametrize("cell", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "=", "-", "--1"])
def test_formulas_are_quoted(cell: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text(["a"], [[cell]]), newline="")))[1] == [f"'{cell}"]


@pytest.mark.parametrize("cell", ["-3.5", "+7", "-1e-3", "-inf", "1 = 1", "a-b", "", "'=1"])
def test_numbers_and_other_text_stay_as_they_are(cell: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text(["a", "b"], [[cell, 1]]), newline="")))[1] == [cell, "1"]


def test_control_characters_are_shown_as_such() -> None:
    assert csv_text(["a", "b"], [["\x1b[31mred\x00", None], [-1, 2.5]]) == "a,b\n\ufffd[31mred\ufffd,\n-1,2.5\n"


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_no_cell_begins_a_formula_and_none_is_lost(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(["a", "b"], rows), newline="")))
    assert [len(row) for row in read] == [2] * (len(rows) + 1)
    for row, written in zip(read[1:], rows, strict=True):
        for cell, original in zip(row, written, strict=True):
            assert "\ufffd" in cell or "\r" in original or cell.removeprefix("'") == original.removeprefix("'")
            if cell.startswith(RUN_BY_SPREADSHEETS):
                float(cell)
