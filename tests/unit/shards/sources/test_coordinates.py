"""Coordinates as people write them, in degrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, parse_coordinate


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("7.25", 7.25),
        ("7,25", 7.25),
        ("-7,25", -7.25),
        ("\u22127,25", -7.25),
        ("+7.25", 7.25),
        ("7.25°", 7.25),
        ("7,25° E", 7.25),
        ("7.25W", -7.25),
        ("W 7.25", -7.25),
        ("7°15'0\" w", -7.25),
        ("7° 15′ 36″ E", 7.26),
        ("7°15,6' E", 7.26),
        ("1e1", 10.0),
    ],
)
def test_longitudes(text: str, degrees: float) -> None:
    assert parse_coordinate(text, LONGITUDE_AXIS) == pytest.approx(degrees, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["", "x", "7,2,5", "1.234,5", "7 8", "N 7", "7 N", "E 7 W", "-7 W", "7°60'", "7;5", "12.5m"]
)
def test_what_is_no_longitude(text: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert|no longitude|60 or more"):
        parse_coordinate(text, LONGITUDE_AXIS)


def test_each_axis_has_its_letters() -> None:
    assert parse_coordinate("12,5 S", LATITUDE_AXIS) == -12.5
    with pytest.raises(ValueError, match="no latitude, whose letters are N and S"):
        parse_coordinate("12,5 E", LATITUDE_AXIS)


@given(st.floats(-180, 180), st.sampled_from(".,"))
def test_a_decimal_mark_changes_nothing(value: float, mark: str) -> None:
    text = f"{value:.7f}"
    assert parse_coordinate(text.replace(".", mark), LONGITUDE_AXIS) == float(text)
