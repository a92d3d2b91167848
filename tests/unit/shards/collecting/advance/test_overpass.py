"""The Overpass client against a local interpreter: spacing, refusals, time-outs, broken answers, and kept answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from overpass_server import BUSY_PAGE, OUT_OF_TIME, Trouble, serve_overpass

from shards.collecting.advance.label_table import read_label_table, table_of
from shards.collecting.advance.overpass import OverpassClient
from shards.collecting.advance.overpass_labels import labels_of_service, query_of
from shards.errors import UserError

BRIEF = 0.002
"""Seconds between requests in these tests."""


def world(place: tuple[float, float]) -> list[dict[str, Any]]:
    """West of Greenwich a wood, without geometry; east of it a station 100 m away, and a road on a bridge."""
    longitude, latitude = place
    if longitude < 0:
        return [{"type": "relation", "id": 1, "tags": {"natural": "wood", "name": "W"}}]
    road = [{"lat": latitude + 0.0003, "lon": longitude - 0.01}, {"lat": latitude + 0.0003, "lon": longitude + 0.01}]
    return [
        {"type": "way", "id": 2, "tags": {"landuse": "residential"}},
        {"type": "node", "id": 3, "lat": latitude + 0.0009, "lon": longitude, "tags": {"railway": "station"}},
        {"type": "way", "id": 4, "tags": {"bridge": "yes", "highway": "primary"}, "geometry": road},
    ]


def test_the_query_asks_for_areas_around_and_objects_near() -> None:
    table = table_of(
        [
            {"class": "bridge", "within_metres": 40, "tags": ["bridge=* & bridge!=no & highway=*"]},
            {"class": "odd", "tags": ['name=a "quoted" one']},
        ],
        "x",
    )
    assert query_of(table, (7.5, 48.25)) == (
        "[out:json][timeout:45];is_in(48.25,7.5);wr(pivot)->.here;"
        '(wr.here["bridge"]["bridge"!="no"]["highway"];wr.here["name"="a \\"quoted\\" one"];);out tags;'
        '(nwr(around:40,48.25,7.5)["bridge"]["bridge"!="no"]["highway"];);out geom;'
    )


def test_places_are_labelled_once(tmp_path: Path) -> None:
    table = read_label_table(None)
    with serve_overpass(world) as server:
        client = OverpassClient(server.url, BRIEF)
        found = labels_of_service(client, table, [(-1.0, 50.0), (1.0, 50.0)], tmp_path / "a" / "answers.jsonl")
        assert {place: label.class_name for place, label in found.items()} == {
            (-1.0, 50.0): "forest",
            (1.0, 50.0): "train station",
        }
        assert server.places == [(-1.0, 50.0), (1.0, 50.0)]
        assert server.agents[0].startswith("Earshot/")
        again = labels_of_service(
            client, table, [(-1.0, 50.0), (1.0, 50.0), (2.0, 50.0)], tmp_path / "a" / "answers.jsonl"
        )
        assert len(again) == 3
        assert server.places[2:] == [(2.0, 50.0)]


def test_answers_that_were_cut_or_belong_to_another_table_are_asked_for_again(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    places = [(-1.0, 50.0), (1.0, 50.0)]
    with serve_overpass(world) as server:
        client = OverpassClient(server.url, BRIEF)
        labels_of_service(client, read_label_table(None), places, answers)
        answers.write_bytes(answers.read_bytes()[:-20])
        found = labels_of_service(client, read_label_table(None), places, answers)
        assert len(found) == 2
        assert server.places[2:] == [(1.0, 50.0)]
        labels_of_service(client, read_label_table(None), places, answers)
        assert len(server.places) == 3
        other = table_of([{"class": "wood", "tags": ["natural=wood"]}], "x")
        assert len(labels_of_service(client, other, places, answers)) == 1
        assert len(server.places) == 5
    for line in answers.read_text().splitlines():
        assert "name" not in line or json.loads(line)  # only tags of the table are kept


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(429, body="rate_limited", retry_after="0"),
        Trouble(504, body=BUSY_PAGE),
        Trouble(503, body=""),
        Trouble(remark=OUT_OF_TIME),
        Trouble(remark='runtime error: Query run out of memory in "query" at line 1 using about 512 MB of RAM.'),
        Trouble(body=BUSY_PAGE),
        Trouble(cut=True),
        Trouble(body="{"),
    ],
)
def test_a_busy_service_is_asked_again(trouble: Trouble) -> None:
    with serve_overpass(world) as server:
        server.troubles = [trouble, trouble]
        elements = OverpassClient(server.url, BRIEF).ask(query_of(read_label_table(None), (-1.0, 50.0)))
        assert [element["id"] for element in elements] == [1]
        assert len(server.queries) == 3


def test_requests_are_spaced() -> None:
    with serve_overpass(world) as server:
        client = OverpassClient(server.url, 0.2)
        for _ in range(3):
            client.ask(query_of(read_label_table(None), (-1.0, 50.0)))
    assert server.times[2] - server.times[0] >= 0.4 - 0.02


def test_a_service_that_stays_busy_ends_the_command_and_keeps_its_answers(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    with serve_overpass(world) as server:
        client = OverpassClient(server.url, BRIEF)
        labels_of_service(client, read_label_table(None), [(-1.0, 50.0)], answers)
        server.troubles = [Trouble(429, body="")] * 6
        with pytest.raises(UserError, match=r"gives no answer: .* HTTP 429 .*, 6 times; run the command again later"):
            labels_of_service(client, read_label_table(None), [(-1.0, 50.0), (1.0, 50.0)], answers)
        assert len(server.queries) == 7
    assert len(answers.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble(400, body="<p>Error: line 1: parse error</p>"), "HTTP 400"),
        (Trouble(302, body="", location="http://127.0.0.1:9/"), "redirects to http://127.0.0.1:9/"),
        (Trouble(404, body=""), "HTTP 404 .*; give the address of an Overpass interpreter"),
        (Trouble(body='{"features": []}'), "answers without elements"),
        (Trouble(body='{"elements": [3]}'), "answers without elements"),
    ],
)
def test_what_is_no_interpreter_is_not_asked_again(trouble: Trouble, words: str) -> None:
    with serve_overpass(world) as server:
        server.troubles = [trouble]
        with pytest.raises(UserError, match=words):
            OverpassClient(server.url, BRIEF).ask(query_of(read_label_table(None), (-1.0, 50.0)))
        assert len(server.queries) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "overpass", "http://"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UserError, match="is not an address"):
        OverpassClient(url, 1)


def test_untrusted_answers_are_only_read(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"type": "node", "tags": {"railway": "station"}, "lat": "x", "lon": 1e400},
        {"type": "way", "tags": {"bridge": "yes", "highway": "a"}, "geometry": [None, {"lat": 50.0}, 3]},
        {"type": "relation", "tags": {"natural": 5}, "members": [None, {"geometry": "x"}]},
        {"type": "way", "tags": {"natural": "wood", "area": "no"}},
        {"type": "way", "tags": {"harbour": "\ud800"}},
    ]
    with serve_overpass(lambda place: odd) as server:
        found = labels_of_service(
            OverpassClient(server.url, BRIEF), read_label_table(None), [(1.0, 50.0)], tmp_path / "answers.jsonl"
        )
    # The last is a harbour, and its value no Unicode, which is kept all the same.
    assert [label.class_name for label in found.values()] == ["harbour"]
