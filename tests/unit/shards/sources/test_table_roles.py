"""Columns by their usual names: guessed where one fits, asked for where several do, never against the user's word."""

from __future__ import annotations

import pytest

from shards.errors import UserError
from shards.sources.table_roles import Roles, find_roles, parse_columns, plain_name


def roles_of(header: str, *rows: str, **given: str) -> Roles:
    names = header.split("|")
    fields = [(at, dict(zip(names, row.split("|"), strict=True))) for at, row in enumerate(rows, start=2)]
    return find_roles("t.csv", names, fields, given)


def test_documented_names_need_no_guess() -> None:
    roles = roles_of("key|id|longitude|lon|latitude|mp3name|scene|label|licenseurl", "1|2|3|4|5|a.mp3|s|l|u")
    assert roles.columns == {"key": "key", "longitude": "longitude", "latitude": "latitude", "sound": "mp3name"}
    assert roles.properties == {"label": ("label", "scene"), "licence": ("licenseurl",)}
    assert (roles.guessed, roles.notices()) == ((), [])


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("Site ID|Lon|Lat", "a|1|2", {"key": "Site ID", "longitude": "Lon", "latitude": "Lat"}),
        ("LÄNGE|breite|Standort", "1|2|a", {"key": "Standort", "longitude": "LÄNGE", "latitude": "breite"}),
        ("id|site|LNG|LAT", "1|a|1|2", {"key": "id", "longitude": "LNG", "latitude": "LAT"}),
        ("id|X|Y", "1|7,5|50", {"key": "id", "longitude": "X", "latitude": "Y"}),
        ("id|x|y", "1|565432|5934123", {"key": "id"}),
        ("Nr.|Breite (°N)|Länge (°O)", "1|48|11", {"key": "Nr.", "longitude": "Länge (°O)", "latitude": "Breite (°N)"}),
        ("id|Lon (°)|Latitude [deg]", "1|2|3", {"key": "id", "longitude": "Lon (°)", "latitude": "Latitude [deg]"}),
        (
            "id|Longitude (WGS 84)|Lat, °N",
            "1|2|3",
            {"key": "id", "longitude": "Longitude (WGS 84)", "latitude": "Lat, °N"},
        ),
        ("id|Länge (m)|Breite (m)", "1|2|3", {"key": "id"}),
        ("id|Tondatei|Luftbild (RGB)", "1|a.wav|a.tif", {"key": "id", "sound": "Tondatei", "image": "Luftbild (RGB)"}),
        ("id|Aufnahme|Kachel", "1|a.wav|a.tif", {"key": "id", "sound": "Aufnahme", "image": "Kachel"}),
        ("id|Audiodatei|aerial image", "1|a.wav|a.tif", {"key": "id", "sound": "Audiodatei", "image": "aerial image"}),
        ("id|lon", "1|7", {"key": "id"}),
        ("Recording file|Tile", "a b.WAV|t.tif", {"sound": "Recording file", "image": "Tile"}),
        ("id|file|filename", "1|a.wav|a.tif", {"key": "id", "sound": "file", "image": "filename"}),
        ("id|file", "1|notes", {"key": "id"}),
        ("id|recording|image", "1|freesound-17|https://x.org/1.jpg", {"key": "id"}),
        ("name|audio", "REC1|REC1.mp3", {"key": "name", "sound": "audio"}),
    ],
)
def test_usual_names_are_guessed_where_their_values_fit(header: str, row: str, columns: dict[str, str]) -> None:
    roles = roles_of(header, row)
    assert roles.columns == columns
    (notice,) = roles.notices()
    for role, name in columns.items():
        assert f"{role} from {name!r}" in notice


def test_a_column_with_repeated_values_is_no_key() -> None:
    roles = roles_of("site|wav", "a|1.wav", "a|2.wav", "b|3.wav")
    assert roles.columns == {"sound": "wav"}


def test_two_columns_that_fit_are_asked_for_all_at_once() -> None:
    with pytest.raises(UserError) as error:
        roles_of("uid|fid|lon|lng|lat", "1|2|3|4|5")
    assert str(error.value) == (
        "t.csv: longitude may be 'lon' or 'lng' (--column longitude='lon'); key may be 'uid' or 'fid' "
        "(--column key='uid'); say which with --column role=NAME"
    )
    assert roles_of("uid|fid|lon|lng|lat", "1|2|3|4|5", key="fid", longitude="lng").columns["longitude"] == "lng"


def test_the_user_is_right() -> None:
    roles = roles_of("key|longitude|latitude|Nr|class|Biome", "a|1|2|7|c|b", key="nr", label="biome")
    assert roles.columns["key"] == "Nr"
    assert roles.properties["label"] == ("Biome",)
    assert roles_of("key|Höhe (m)", "1|2", label="höhe").properties["label"] == ("Höhe (m)",)
    with pytest.raises(UserError, match=r"--column sound=Wave: t.csv has no such column; did you mean 'Wav'"):
        roles_of("key|Wav", "1|x", sound="Wave")


def test_words_of_the_option() -> None:
    assert parse_columns(["key=Site ID", "Sound=Recording file", "license=L"]) == (
        {"key": "Site ID", "sound": "Recording file", "licence": "L"},
        None,
    )
    assert parse_columns(["recording"]) == ({}, "recording")
    assert parse_columns(["image=a=b"]) == ({"image": "a=b"}, None)
    for words, message in (
        (["a", "b"], "two columns to split by, 'a' and 'b'"),
        (["keys=a"], "unknown role 'keys'; did you mean 'key'"),
        (["key=a", "key=b"], "role key is given twice"),
        (["key="], "role key needs the name of a column"),
    ):
        with pytest.raises(UserError, match=message):
            parse_columns(words)


def test_names_are_compared_by_letters_and_digits() -> None:
    assert plain_name(" Site-ID_2 ") == plain_name("siteid2") == "siteid2"
    assert plain_name("Längengrad") == plain_name("LA\u0308NGENGRAD") == "langengrad"
