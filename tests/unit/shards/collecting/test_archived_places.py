"""Places of the archive's items, in the forms in which they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.collecting.archived_places import place_of_item

BERLIN = (13.4, 52.5)


@pytest.mark.parametrize(
    "coverage",
    [
        "52.5,13.4",
        "52.5, 13.4",
        "52.5;13.4",
        "52.5 13.4",
        "52.5,13.4,Berlin, Germany",
        "Berlin (52.5, 13.4)",
        "52,5; 13,4",
        "52.5N 13.4E",
        "N 52.5, E 13.4",
        "52.5° N, 13.4° E",
        "52°30'N 13°24'E",
        "52°30'0\"N, 13°24'0\"E",
        "latitude: 52.5, longitude: 13.4",
        "lon=13.4 lat=52.5",
        "lat 52.5 lng 13.4",
        "east=13.4; north=52.5; name=Berlin",
        "POINT(13.4 52.5)",
        ["somewhere", "52.5,13.4"],
    ],
)
def test_a_place_is_read_from_coverage(coverage: object) -> None:
    assert place_of_item({"coverage": coverage}) == pytest.approx(BERLIN)


def test_fields_of_their_own_come_before_coverage() -> None:
    assert place_of_item({"latitude": "52.5", "longitude": 13.4, "coverage": "1,2"}) == pytest.approx(BERLIN)
    assert place_of_item({"latitude": ["52.5"], "lon": "13.4"}) == pytest.approx(BERLIN)
    assert place_of_item({"latitude": "52.5", "coverage": "1.5,2.5"}) == (2.5, 1.5)


@pytest.mark.parametrize(
    "fields",
    [{}, {"coverage": ""}, {"coverage": "Berlin"}, {"coverage": "0,0"}, {"coverage": "2019-05-19"}, {"coverage": None},
     {"coverage": "95.0,13.4"}, {"coverage": "52.5,190"}, {"latitude": "0", "longitude": "0"}, {"coverage": {"a": 1}},
     {"coverage": "52.5"}, {"latitude": "nan", "longitude": "1"}],
)  # fmt: skip
def test_what_is_no_place_is_none(fields: dict[str, object]) -> None:
    assert place_of_item(fields) is None


@given(
    st.integers(-89_999_999, 89_999_999), st.integers(-179_999_999, 179_999_999), st.sampled_from([",", ", ", ";", " "])
)
def test_any_pair_of_numbers_is_read_exactly(latitude: int, longitude: int, between: str) -> None:
    place = latitude / 1e6, longitude / 1e6
    found = place_of_item({"coverage": f"{place[0]:.6f}{between}{place[1]:.6f}"})
    assert found == (None if place == (0, 0) else (place[1], place[0]))


@given(st.text(max_size=300))
def test_any_text_gives_a_place_within_range_or_none(text: str) -> None:
    found = place_of_item({"coverage": text})
    assert found is None or (abs(found[0]) <= 180 and abs(found[1]) <= 90)
