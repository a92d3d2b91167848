"""The table of tags and classes: order, distances, tests of tags, and entries that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shards.collecting.advance.corrections import read_corrections
from shards.collecting.advance.label_table import NearObject, read_label_table, table_of
from shards.errors import UserError


def test_the_first_rule_of_the_table_wins_whatever_the_order_of_the_objects() -> None:
    table = read_label_table(None)
    around = [
        NearObject({"landuse": "residential"}, 0),
        NearObject({"natural": "wood"}, 0),
        NearObject({"leisure": "pitch"}, 30),
        NearObject({"railway": "station"}, 151),
    ]
    for objects in (around, around[::-1]):
        label = table.label(objects)
        assert label is not None
        assert (label.class_name, label.evidence) == ("sports land", "leisure=pitch")
    assert table.label(around[:1]).class_name == "residential"  # type: ignore[union-attr]
    assert table.label([NearObject({"landuse": "residential"}, 0.1)]) is None
    assert table.label([]) is None


@pytest.mark.parametrize(
    ("tags", "class_name"),
    [
        ({"railway": "station"}, "train station"),
        ({"railway": "station", "station": "subway"}, None),
        ({"bridge": "yes", "highway": "primary"}, "bridge"),
        ({"bridge": "no", "highway": "primary"}, None),
        ({"bridge": "yes"}, None),
        ({"natural": "water", "water": "lake"}, "lake"),
        ({"natural": "water", "water": "river"}, None),
        ({"harbour": "anything"}, "harbour"),
        ({}, None),
    ],
)
def test_tests_of_tags(tags: dict[str, str], class_name: str | None) -> None:
    label = read_label_table(None).label([NearObject(tags, 0)])
    assert (label and label.class_name) == class_name


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "must be a list of 1 to 500 entries"),
        ([], "must be a list"),
        ([{"class": "a"}], "entry 1 must have class, tags"),
        ([{"class": "a", "tags": ["b=c"], "within": 5}], "entry 1 must have class, tags"),
        ([{"class": "../a", "tags": ["b=c"]}], "class must be up to 60 letters"),
        ([{"class": "a", "tags": ["b=c"], "within_metres": -1}], "within_metres must be from 0 to 5000, got -1"),
        ([{"class": "a", "tags": []}], "tags must be a list of lines"),
        ([{"class": "a", "tags": ["b"]}], "must be key=value"),
        ([{"class": "a", "tags": ["b!=c"]}], "at least one of them without !"),
        ([{"class": "a", "tags": ["b=c & "]}], "must be key=value"),
        ([{"class": "a", "tags": [3]}], "must be key=value"),
    ],
)
def test_entries_that_are_none_are_named(value: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        table_of(value, "--labels x.yaml")


def test_corrections_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("key,label\n1,beach\nSite 2,\n")
    assert read_corrections(path) == {"1": "beach", "Site 2": ""}
    assert read_corrections(None) == {}
    for text, words in (
        ("id,label\n1,beach\n", "has no column 'key'"),
        ("key,scene\n1,beach\n", "has no column 'label'"),
        ("key,label\n1,beach\n1,lake\n", "key '1' appears twice"),
        ("key,label\n1,../beach\n", "label must be a class"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            read_corrections(path)
    with pytest.raises(UserError, match="no such file"):
        read_corrections(tmp_path / "nowhere.csv")
