"""Countries by a file of boundaries: inside, near a shore, at sea; and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.errors import UserError
from shards.geography.countries import NOWHERE, Countries
from shards.geography.geojson import read_features


def square(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def write_features(path: Path, *features: tuple[dict[str, Any], Any]) -> Path:
    records = [{"type": "Feature", "properties": p, "geometry": g} for p, g in features]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": records}))
    return path


@pytest.fixture
def boundaries(tmp_path: Path) -> Path:
    return write_features(
        tmp_path / "world.geojson",
        ({"ADMIN": "Westland", "NAME": "W."}, square(0, 0, 10, 10)),
        ({"ADMIN": "Eastland"}, square(10, 0, 20, 10)),
        ({"ADMIN": "Westland"}, {"type": "MultiPolygon", "coordinates": [square(-30, 0, -29, 1)["coordinates"]]}),
        ({"ADMIN": "Nothing"}, None),
    )


def test_places_are_inside_near_a_shore_or_at_sea(boundaries: Path) -> None:
    countries = Countries(boundaries)
    assert countries.names == ("Westland", "Eastland")
    # 0.08 degrees of latitude are 8.9 km, 0.1 are 11.1 km.
    longitudes = np.array([5.0, 15.0, -29.5, 5.0, 15.0, 5.0, 100.0])
    latitudes = np.array([5.0, 5.0, 0.5, -0.08, 10.08, 10.1, 50.0])
    found = countries.locate(longitudes, latitudes)
    names = [None if number == NOWHERE else countries.names[number] for number in found.country]
    assert names == ["Westland", "Eastland", "Westland", "Westland", "Eastland", None, None]
    assert found.is_near.tolist() == [False, False, False, True, True, False, False]


def test_a_place_that_two_countries_claim_is_counted_once_for_the_first_of_the_file(tmp_path: Path) -> None:
    for first, second in (("A", "B"), ("B", "A")):
        features = [({"name": name}, square(0, 0, 10, 10)) for name in (first, second)]
        countries = Countries(write_features(tmp_path / "claimed.geojson", *features))
        found = countries.locate(np.array([5.0]), np.array([5.0]))
        assert countries.names[found.country[0]] == first


def test_many_places_are_located_as_one_by_one(boundaries: Path) -> None:
    countries = Countries(boundaries)
    generator = np.random.default_rng(0)
    longitudes, latitudes = generator.uniform(-31, 21, 3000), generator.uniform(-1, 11, 3000)
    together = countries.locate(longitudes, latitudes)
    for number in range(0, 3000, 50):
        alone = countries.locate(longitudes[number : number + 1], latitudes[number : number + 1])
        assert alone.country[0] == together.country[number]
        assert alone.is_near[0] == together.is_near[number]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"x": 1}, '
         '"geometry": {"type": "Polygon", "coordinates": []}}]}', "feature 1 has no name; one of the properties admin"),
        ('{"type": "FeatureCollection", "features": []}', "has no polygons"),
        ('{"type": "Topology"}', "is not a GeoJSON feature collection"),
        ("PK", "is not JSON"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "A"}, "geometry": '
         '{"type": "Polygon", "coordinates": [[[400000, 5], [1, 1], [2, 2]]]}}]}', "coordinates that are not degrees"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "A"}, "geometry": '
         '{"type": "Polygon", "coordinates": [["a"]]}}]}', "no pairs of numbers"),
    ],
)  # fmt: skip
def test_files_that_are_no_boundaries_are_refused_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "world.geojson"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        Countries(path)


def test_a_feature_a_line_is_read_like_a_collection(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": {"name": str(number)}, "geometry": square(number, 0, number + 1, 1)}
        for number in range(3)
    ]
    path = tmp_path / "lines.geojsonseq"
    path.write_text("".join(f"\x1e{json.dumps(feature)}\n" for feature in features))
    assert [feature.properties["name"] for feature in read_features(path)] == ["0", "1", "2"]
    path.write_text("\n".join(json.dumps(feature) for feature in features))
    assert [feature.shape.bounds for feature in read_features(path)] == [(0, 0, 1, 1), (1, 0, 2, 1), (2, 0, 3, 1)]
