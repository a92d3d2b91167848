"""Splits: nothing that must stay together is torn, nothing moves when a pair is added, shares are as stated."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.building.splitting import (
    EARTH_RADIUS_KM,
    cell_group,
    cells_in_band,
    hash_share,
    location_cell,
    split_at_random,
    split_by_key,
    value_group,
)
from shards.schema import SPLITS

longitudes = st.floats(-180, 180)
latitudes = st.floats(-90, 90)
sizes_km = st.floats(0.1, 30_000)


@given(st.integers(0, 10**12))
def test_keys_are_split_as_published(key: int) -> None:
    expected = {7: "val", 2: "test", 5: "test"}.get(key % 10, "train")
    assert split_by_key(str(key)) == expected


@pytest.mark.parametrize("key", ["", "abc", "12a", "-7", "1_0", "７"])
def test_a_key_that_is_no_number_has_no_published_split(key: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        split_by_key(key)


def test_random_splits_have_the_published_shares() -> None:
    counts = Counter(split_at_random(str(key), seed=3) for key in range(20_000))
    assert counts["val"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.01)


def test_another_seed_deals_anew() -> None:
    keys = [str(key) for key in range(1000)]
    first, second = ([split_at_random(key, seed) for key in keys] for seed in (0, 1))
    assert first != second
    assert first == [split_at_random(key, 0) for key in keys]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "key:1"]), st.sampled_from("1ab")), max_size=40))
def test_pairs_are_one_group_if_they_share_a_value_or_a_key_without_one(rows: list[tuple[str, str]]) -> None:
    groups = [value_group(value, key) for value, key in rows]
    for first, group in zip(rows, groups, strict=True):
        for second, other in zip(rows, groups, strict=True):
            assert (group == other) == (first[0] == second[0] and (first[0] != "" or first[1] == second[1]))


def test_rows_without_a_value_are_dealt_one_by_one() -> None:
    assert {split_at_random(value_group("", str(key)), seed=0) for key in range(200)} == set(SPLITS)


@given(longitudes, latitudes, sizes_km)
def test_every_place_lies_in_a_cell(longitude: float, latitude: float, cell_km: float) -> None:
    band, column = location_cell(longitude, latitude, cell_km)
    num_columns = cells_in_band(band, cell_km)
    assert 0 <= column < num_columns
    num_bands = max(1, round(math.pi * EARTH_RADIUS_KM / cell_km))
    south, north = -90 + 180 * band / num_bands, -90 + 180 * (band + 1) / num_bands
    assert south - 1e-9 <= latitude <= north + 1e-9
    west = -180 + 360 * column / num_columns
    turned = -180.0 if longitude + 180 == 360 else longitude
    assert west - 1e-9 <= turned <= west + 360 / num_columns + 1e-9


@given(latitudes, sizes_km)
def test_the_date_line_tears_no_place(latitude: float, cell_km: float) -> None:
    assert location_cell(180.0, latitude, cell_km) == location_cell(-180.0, latitude, cell_km)
    assert cell_group(180.0, latitude, cell_km) == cell_group(-180.0, latitude, cell_km)


@given(latitudes, st.floats(0.5, 1000))
def test_cells_have_about_equal_area(latitude: float, cell_km: float) -> None:
    band, _ = location_cell(0.0, latitude, cell_km)
    num_bands = round(math.pi * EARTH_RADIUS_KM / cell_km)
    south, north = (math.radians(-90 + 180 * edge / num_bands) for edge in (band, band + 1))
    band_area = 2 * math.pi * EARTH_RADIUS_KM**2 * (math.sin(north) - math.sin(south))
    assert band_area / cells_in_band(band, cell_km) == pytest.approx(cell_km**2, rel=0.25)


@given(longitudes, latitudes, longitudes, latitudes)
def test_places_are_one_group_if_they_share_a_cell(
    longitude: float, latitude: float, other_longitude: float, other_latitude: float
) -> None:
    is_one_cell = location_cell(longitude, latitude, 2000.0) == location_cell(other_longitude, other_latitude, 2000.0)
    groups = {cell_group(longitude, latitude, 2000.0), cell_group(other_longitude, other_latitude, 2000.0)}
    assert (len(groups) == 1) == is_one_cell


@pytest.mark.parametrize("cell_km", [0.0, -1.0, math.nan, math.inf])
def test_a_cell_needs_a_size(cell_km: float) -> None:
    with pytest.raises(ValueError, match="cell_km"):
        location_cell(0.0, 0.0, cell_km)


@pytest.mark.parametrize(("longitude", "latitude"), [(181.0, 0.0), (0.0, -91.0), (math.nan, 0.0)])
def test_a_place_must_be_on_the_earth(longitude: float, latitude: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        location_cell(longitude, latitude, 10.0)


@given(st.text())
def test_a_hash_is_a_share(text: str) -> None:
    assert 0 <= hash_share(text) < 1
    assert hash_share(text) == hash_share(text)
