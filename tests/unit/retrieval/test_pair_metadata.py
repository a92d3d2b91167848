"""Untrusted metadata of a pair: whatever it holds becomes a text, a place, or nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.pair_metadata import link_of, readable_metadata, text_of
from shards.errors import UnreadableShard
from shards.records import json_as
from shards.schema import place_of

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


class Stored:
    """A sample whose JSON member holds any text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def metadata(self) -> Any:
        return json_as(dict[str, Any], self.text, "the JSON of a sample")


def test_texts() -> None:
    values = {"a": " two\n words ", "b": 7, "c": 2.5, "d": True, "e": None, "f": ["x"], "g": math.nan}
    assert [text_of(values, name) for name in "abcdefgh"] == ["two words", "7", "2.5", "", "", "", "", ""]


def test_places() -> None:
    assert place_of({"longitude": -180, "latitude": 90}) == (-180.0, 90.0)
    assert place_of({"longitude": 0, "latitude": 0.0}) == (0.0, 0.0)
    for longitude, latitude in ((180.1, 0), (0, -90.1), ("8", 50), (8, None), (True, 1), (math.inf, 1), (10**400, 1)):
        assert place_of({"longitude": longitude, "latitude": latitude}) is None


@given(ANYTHING, ANYTHING)
def test_whatever_was_written_is_read(one: Any, other: Any) -> None:
    text = text_of({"title": one}, "title")
    assert text == " ".join(text.split())
    place = place_of({"longitude": one, "latitude": other})
    assert place is None or (abs(place[0]) <= 180 and abs(place[1]) <= 90)


@pytest.mark.parametrize(
    ("written", "read"),
    [('{"title": "a"}', {"title": "a"}), ("{", None), ("[1]", None), ("null", None), ("[" * 9**6, None)],
)
def test_what_is_no_json_is_told_from_what_names_nothing(written: str, read: dict[str, Any] | None) -> None:
    assert readable_metadata(Stored(written)) == read  # type: ignore[arg-type]


def test_a_shard_that_can_t_be_read_is_no_missing_metadata() -> None:
    class Damaged(Stored):
        def metadata(self) -> Any:
            raise UnreadableShard("it is damaged", shard="train-000000.tar")

    with pytest.raises(UnreadableShard, match="is damaged"):
        readable_metadata(Damaged(""))  # type: ignore[arg-type]


def test_links_lead_to_the_web_alone() -> None:
    assert link_of("https://creativecommons.org/licenses/by/4.0/").startswith("https://")
    assert [link_of(text) for text in ("javascript:alert(1)", "CC BY", "", "data:text/html,x")] == [""] * 4
