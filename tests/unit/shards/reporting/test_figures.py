"""The statistics of a set against figures that were counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.manifest import Manifest
from shards.reporting.figures import name_statistics, place_statistics, sound_statistics, statistics_of
from shards.reporting.tally import MOST_LETTERS, CorpusTally, NameCounts, year_of
from shards.schema import Rejection, SpectrogramSettings

STATISTICS = {"spectrogram_mean": 1.0, "spectrogram_std": 1.0, "seconds_of_sound": 1.0}

PAIRS: list[dict[str, Any]] = [
    {"seconds": 10, "longitude": 5.0, "latitude": 5.0, "creator": "Ann", "licence": "by", "date_recorded": "2012-05-03",
     "label": "beach"},
    {"seconds": 30, "longitude": 5.0, "latitude": 5.000001, "creator": "Ann", "licence": "by", "date_recorded": "2012",
     "label": "beach"},
    {"seconds": 30.5, "longitude": 15.0, "latitude": 5.0, "creator": " Bob ", "date_recorded": "03.05.2014",
     "label": "forest"},
    {"seconds": 600, "longitude": 180.0, "latitude": 0.0, "creator": "", "licence": "cc0", "date_recorded": "May 2014"},
    {"seconds": 600.001, "longitude": -180.0, "latitude": 0.0, "creator": 7, "licence": "by", "date_recorded": "n/a"},
    {"longitude": 400, "latitude": 0.0, "creator": "Bob", "date_recorded": "2012 or 2013"},
]  # fmt: skip


@pytest.fixture
def tally() -> CorpusTally:
    tally = CorpusTally()
    for pair in PAIRS:
        tally.add(pair)
    return tally


def test_lengths_by_hand(tally: CorpusTally) -> None:
    found = sound_statistics(tally)
    assert (found["pairs_with_length"], found["pairs_without_length"]) == (5, 1)
    assert found["hours"] == pytest.approx(1270.501 / 3600)
    assert found["median_seconds"] == 30.5
    # The 99th of 5: 96 % of the way from the fourth to the fifth.
    assert found["percentile_99_seconds"] == pytest.approx(600 + 0.96 * 0.001)
    assert (found["shortest_seconds"], found["longest_seconds"]) == (10, 600.001)
    counts = [entry["pairs"] for entry in found["histogram"]]
    # 10 and 30 s in the first half minute, 30.5 in the second, 600 in the last of ten minutes, 600.001 beyond.
    assert counts == [2, 1, *[0] * 17, 1, 1]
    assert found["histogram"][0] == {"above_seconds": 0, "to_seconds": 30, "pairs": 2}
    assert found["histogram"][-1] == {"above_seconds": 600, "to_seconds": None, "pairs": 1}


def test_sets_of_short_clips_have_finer_steps() -> None:
    tally = CorpusTally()
    for seconds in (3, 10, 10, 60):
        tally.add({"seconds": seconds})
    found = sound_statistics(tally)["histogram"]
    assert [entry["pairs"] for entry in found] == [1, 0, 0, 2, *[0] * 15, 1, 0]
    assert found[-1] == {"above_seconds": 60, "to_seconds": None, "pairs": 0}


def test_places_creators_licences_years_and_labels_by_hand(tally: CorpusTally, tmp_path: Path) -> None:
    manifest = Manifest(
        "recordings", {}, SpectrogramSettings(), STATISTICS, (), (Rejection("9", "missing sound", "no audio/9"),)
    )
    boundaries = tmp_path / "world.geojson"
    ring = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
    features = [{"type": "Feature", "properties": {"NAME": "<b>Westland"}, "geometry": {"type": "Polygon",
                 "coordinates": [ring]}}]  # fmt: skip
    boundaries.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = statistics_of(manifest, tally, boundaries)
    # 5 and 5.000001 are one place, and so are 180° east and west.
    assert found["places"] == {
        "pairs_with_place": 5, "pairs_without_place": 1, "different_places": 3, "decimals_compared": 5,
    }  # fmt: skip
    assert found["countries"] == {
        "boundaries": "world.geojson", "boundaries_countries": 1, "countries": 1, "pairs_inside": 2,
        "pairs_near_shore": 0, "shore_km": 10.0, "pairs_without": 3, "pairs_by_country": {"<b>Westland": 2},
    }  # fmt: skip
    assert found["creators"] == {
        "different": 2, "is_at_least": False, "pairs_without": 2, "pairs_by_name": {"Ann": 2, "Bob": 2},
        "pairs_of_others": 0,
    }  # fmt: skip
    assert found["licences"]["pairs_by_name"] == {"by": 3, "cc0": 1}
    assert found["years"] == {"pairs_by_year": {"2012": 2, "2014": 2}, "pairs_without": 2}
    assert found["labels"]["pairs_by_name"] == {"beach": 2, "forest": 1}
    assert found["rejected"] == {"missing sound": 1}
    assert tally.places_of("forest").tolist() == [[15.0, 5.0]]
    assert tally.places_of("unheard of").shape == (0, 2)
    assert json.loads(json.dumps(found)) == found
    assert statistics_of(manifest, tally, None)["countries"] is None


def test_a_set_without_anything_has_statistics() -> None:
    manifest = Manifest("recordings", {}, SpectrogramSettings(), STATISTICS, (), ())
    found = statistics_of(manifest, CorpusTally(), None)
    assert (found["pairs"], found["sound"]["median_seconds"], found["places"]["different_places"]) == (0, None, 0)
    assert {entry["pairs"] for entry in found["sound"]["histogram"]} == {0}


def test_places_are_counted_as_a_set_of_them_would_be() -> None:
    generator = np.random.default_rng(3)
    tally = CorpusTally()
    places = [(float(x), float(y)) for x, y in generator.integers(-50, 50, (2000, 2)) / 1e5 * [18, 9]]
    for longitude, latitude in places:
        tally.add({"longitude": longitude, "latitude": latitude})
    expected = {(round(x * 1e5), round(y * 1e5)) for x, y in places}
    assert place_statistics(tally)["different_places"] == len(expected)


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("2012-05-03", 2012), ("2012", 2012), ("  1999/1/1", 1999), ("03.05.2012", 2012), ("5/3/2012 10:20", 2012),
        ("20120503", None), ("12-05-03", None), ("", None), (None, None), (2015, 2015), ("circa 1850, 1851", None),
        ("2012-05-03T10:00:00+02:00, edited 2014", 2012), ("May 2014", 2014), ("0000-00-00", None), ("12012", None),
        (["2012"], None),
    ],
)  # fmt: skip
def test_years_are_those_that_are_clear(text: Any, year: int | None) -> None:
    assert year_of(text) == year


def test_long_names_of_others_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shards.reporting.tally.MOST_NAMES", 2)
    monkeypatch.setattr("shards.reporting.figures.MOST_LISTED", 1)
    names = NameCounts()
    for value in ("a" * 500, "b\x1b[31m", "a" * 500, "c", None):
        names.add(value)
    assert [len(name) for name in names.counts] == [MOST_LETTERS, 6]
    found = name_statistics(names)
    assert (found["different"], found["is_at_least"], found["pairs_of_others"]) == (2, True, 2)
    assert list(found["pairs_by_name"].values()) == [2]
    assert "\x1b" not in "".join(names.counts)
