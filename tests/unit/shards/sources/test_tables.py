"""Table files of every usual format give the same rows, with their places in the file."""

from __future__ import annotations

import csv
import datetime
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shards.errors import UserError
from shards.sources.metadata_table import MetadataTable, read_table
from shards.sources.table_roles import is_usual
from shards.sources.tables import Table, read_table_file

HEADER = ["key", "longitude", "latitude", "title"]
ROWS = [["1", "7.5", "50.25", "Höhe, „oben“"], ["2", "-8", "51", 'say "so"; twice'], ["3", "9", "52", "two\nlines|"]]


def written(path: Path, separator: str, *, quoting: int = csv.QUOTE_MINIMAL, before: str = "", end: str = "\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end).writerows([HEADER, *ROWS])
    path.write_text(before + text.getvalue(), encoding="utf-8", newline="")
    return text.getvalue()


def fields_of(table: Table | MetadataTable) -> list[list[str]]:
    return [[row[name] for name in HEADER] for _, row in table.rows]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\ufeff", "sep={}\r\n", '\ufeff"sep={}"\n', "\n\n"])
def test_any_separator_is_found_or_stated(tmp_path: Path, separator: str, end: str, before: str) -> None:
    path = tmp_path / "metadata.csv"
    text = written(path, separator, before=before.format(separator), end=end)
    table = read_table(tmp_path)
    assert fields_of(table) == ROWS
    # Places are lines of the file as an editor counts them; a record over two lines stands where it ends.
    last = before.count("\n") + len(text.splitlines())
    assert [place for place, _ in table.rows] == [last - 3, last - 2, last]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_unicode_are_known_by_their_bytes(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(written(path, ";").encode(encoding))
    table = read_table(tmp_path)
    assert fields_of(table) == ROWS
    assert table.notices == ()


def test_an_old_encoding_is_read_and_said_with_a_word_to_judge_by(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes("key,longitude,latitude,title\n1,2,3,am Höhenweg\n".encode("cp1252"))
    table = read_table(tmp_path)
    assert table.rows[0][1]["title"] == "am Höhenweg"
    assert table.notices == ("metadata.csv is not UTF-8 and was read as Windows-1252; line 2 then has 'Höhenweg'",)


def test_a_separator_that_can_not_be_told_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text("Revier;Wert,Maß\na;b,c\nd;e,f\n")
    # Known names of columns decide, where both marks divide every line alike.
    path.write_text("id;Wert, Maß;lon;lat\n1;b, c;7;50\n")
    assert read_table(tmp_path, table=path).columns == ("id", "Wert, Maß", "lon", "lat")
    path.write_text("Revier;Wert,Maß\na;b,c\nd;e,f\n")
    with pytest.raises(UserError, match="may be separated by comma or semicolon; say which with a first line such as"):
        read_table_file(path)
    path.write_text("sep=;\nRevier;Wert,Maß\na;b,c\n")
    assert read_table_file(path).columns == ("Revier", "Wert,Maß")


def test_decimal_commas_do_not_divide(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text("key;longitude;latitude\n1;7,25;50,5\n2;8,5;51,75\n")
    assert [list(row.values()) for _, row in read_table(tmp_path).rows] == [
        ["1", "7,25", "50,5"],
        ["2", "8,5", "51,75"],
    ]
    path.write_text('key,longitude,latitude\n1,"7,25","50,5"\n')
    assert read_table(tmp_path).rows[0][1]["longitude"] == "7,25"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('"Old" mill at dawn', '"Old" mill at dawn'),
        ('5" pipe', '5" pipe'),
        ('"a ""real"" quote, closed" ', 'a "real" quote, closed'),
        ('"never closed', '"never closed'),
        ('  "spaces before, and after" ', "spaces before, and after"),
    ],
)
def test_quotes_by_hand_are_text_and_swallow_no_row(tmp_path: Path, field: str, value: str) -> None:
    (tmp_path / "metadata.csv").write_text(f'key,longitude,latitude,title\n1,2,3,{field}\n2,3,4,"b, c"\n')
    table = read_table(tmp_path)
    assert [(place, row["title"]) for place, row in table.rows] == [(2, value), (3, "b, c")]


def test_what_was_taken_for_text_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text('key,longitude,latitude,title\n1,2,3,"ok"\n2,2,3,"Old" mill\n')
    (notice,) = read_table(tmp_path).notices
    assert notice.startswith("metadata.csv, line 3: a quote is not doubled or not closed")


plain = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs", "S")), max_size=12).map(str.strip)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    titles=st.lists(plain, min_size=1, max_size=6),
    places=st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=6, max_size=6),
    separator=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_spreadsheet_writes_is_read_as_it_was(
    tmp_path: Path,
    titles: list[str],
    places: list[tuple[float, float]],
    separator: str,
    decimal: str,
    quoting: Any,
    end: str,
    encoding: str,
) -> None:
    rows = [
        [str(number), *(f"{value:.4f}".replace(".", decimal) for value in place), title]
        for number, (title, place) in enumerate(zip(titles, places, strict=False), start=1)
    ]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end).writerows([HEADER, *rows])
    path = tmp_path / "any.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    table = read_table_file(path, is_known=is_usual)
    assert fields_of(table) == rows
    assert [place for place, _ in table.rows] == list(range(2, len(rows) + 2))


def test_columns_without_name_or_value_are_dropped_and_others_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("key;;longitude;latitude;;\n1;x;2;3;;\n2;;3;4;;;;\n3;;3;4;;;;odd\n")
    table = read_table(tmp_path)
    assert table.columns == ("key", "column 2", "longitude", "latitude")
    assert [row.get("") for _, row in table.rows] == [None, None, "has more fields than there are columns"]


def as_xlsx(path: Path, rows: list[list[Any]], *, title: str = "Sites", empty_first: bool = False) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    if empty_first:
        sheet = book.create_sheet(title)
    sheet.title = title
    for row in rows:
        sheet.append(row)
    book.save(path)


def test_a_workbook_gives_numbers_as_people_see_them(tmp_path: Path) -> None:
    rows = [
        ["Site ID", "Lon", "Lat", "Date", "Note", None],
        [20240501060000.0, 7.1, 50, datetime.datetime(2024, 5, 1), "a, b", None],
        [None, None, None, None, None, None],
        [12, -7.25, 50.0, datetime.datetime(2024, 5, 1, 6, 30), True, None],
    ]
    as_xlsx(tmp_path / "sites.xlsx", rows, empty_first=True)
    table = read_table(tmp_path, table=Path("sites.xlsx"))
    assert table.columns == ("Site ID", "Lon", "Lat", "Date", "Note")
    assert [(place, list(row.values())) for place, row in table.rows] == [
        (2, ["20240501060000", "7.1", "50", "2024-05-01", "a, b"]),
        (4, ["12", "-7.25", "50", "2024-05-01 06:30:00", "true"]),
    ]
    assert (table.unit, table.roles.columns["key"]) == ("row", "Site ID")


def test_of_several_sheets_the_first_visible_one_with_rows_is_read_and_said(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["hidden"])
    book.active.sheet_state = "hidden"
    for title in ("Plan", "Old"):
        book.create_sheet(title).append(["key", "longitude", "latitude"])
        book[title].append([title, 1, 2])
    book.save(tmp_path / "sites.xlsx")
    table = read_table(tmp_path, table=tmp_path / "sites.xlsx")
    assert table.rows[0][1]["key"] == "Plan"
    assert "sites.xlsx: sheet 'Plan' is read; other sheets with rows: 'Old', 'Sheet'" in table.notices


def test_a_data_frame_keeps_its_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"key": [1, 2], "longitude": [7.5, None], "latitude": [50.0, 51.0], "title": ["a", None]})
    frame.set_index(pd.Index([5, 6])).to_parquet(tmp_path / "sites.parquet")
    table = read_table(tmp_path, table=Path("sites.parquet"))
    assert table.columns == ("key", "longitude", "latitude", "title")
    assert [list(row.values()) for _, row in table.rows] == [["1", "7.5", "50", "a"], ["2", "", "51", ""]]


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_points_of_geojson_are_rows_and_other_geometries_are_named(tmp_path: Path) -> None:
    features = [
        feature({"type": "Point", "coordinates": [7.5, 50, 310]}, Site="A 1", visits=2.0),
        feature({"type": "LineString", "coordinates": [[7, 50], [8, 51]]}, Site="A 2"),
        feature(None, Site="A 3"),
        feature({"type": "Point", "coordinates": []}, Site="A 4"),
    ]
    path = tmp_path / "sites.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    table = read_table(tmp_path, table=path)
    assert table.columns == ("Site", "visits", "longitude", "latitude")
    assert [list(row.values()) for _, row in table.rows] == [
        ["A 1", "2", "7.5", "50"],
        ["A 2", "", "", "", "is a LineString, not a Point"],
        ["A 3", "", "", ""],
        ["A 4", "", "", "", "is a Point without a longitude and latitude"],
    ]
    assert (table.unit, [place for place, _ in table.rows]) == ("feature", [1, 2, 3, 4])


def test_geojson_on_a_map_grid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sites.geojson"
    record = {"type": "FeatureCollection", "features": [feature(None, key="1")]}
    for name, fine in (("urn:ogc:def:crs:OGC:1.3:CRS84", True), ("urn:ogc:def:crs:EPSG::25832", False)):
        path.write_text(json.dumps({**record, "crs": {"type": "name", "properties": {"name": name}}}))
        if fine:
            assert read_table(tmp_path, table=path).rows
        else:
            with pytest.raises(UserError, match="its coordinates are in urn:ogc:def:crs:EPSG::25832, not in degrees"):
                read_table(tmp_path, table=path)


GPX = """<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1">
{}<trk><trkseg><trkpt lat="1" lon="2"/></trkseg></trk></gpx>"""


def test_waypoints_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "walk.gpx"
    path.write_text(GPX.format('<wpt lat="50.5" lon="7.25"><ele>3</ele><name>REC 001</name><cmt>weir</cmt></wpt>'))
    table = read_table(tmp_path, table=path)
    assert table.columns == ("ele", "name", "cmt", "longitude", "latitude")
    assert table.rows[0] == (
        1, {"ele": "3", "name": "REC 001", "cmt": "weir", "longitude": "7.25", "latitude": "50.5"}
    )  # fmt: skip
    assert (table.unit, table.roles.columns["key"]) == ("waypoint", "name")


ENTITIES = '<!DOCTYPE gpx [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
BOMB = ENTITIES + '<gpx><wpt lat="1" lon="2"><name>&b;</name></wpt></gpx>'


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save it as .xlsx or CSV"),
        ("not.xlsx", b"PK\x03\x04nothing", "can't be read as an XLSX workbook"),
        ("not.parquet", b"PAR1 nothing", "can't be read as Parquet"),
        ("list.json", b'[{"key": 1}]', "not a GeoJSON feature collection"),
        ("cut.geojson", b'{"type": "FeatureCollection", "features": [', "can't be read as GeoJSON"),
        ("page.csv", b"<html><body/></html>", "not a GPX file"),
        ("cut.gpx", b"<gpx><wpt", "can't be read as GPX"),
        ("track.gpx", GPX.format("").encode(), "no waypoints"),
        ("bomb.gpx", BOMB.encode(), "declares a document type"),
        ("bomb16.gpx", BOMB.encode("utf-16"), "declares a document type"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path, table=Path(name))


@pytest.mark.parametrize("name", ["metadata.xlsx", "metadata.parquet"])
def test_a_table_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"key": [f"k{number}" for number in range(500)]})
    frame.to_excel(tmp_path / name, index=False) if name.endswith("xlsx") else frame.to_parquet(tmp_path / name)
    assert len(read_table(tmp_path, table=Path(name)).rows) == 500
    monkeypatch.setattr("shards.sources.table_formats.MOST_BYTES", 3000)
    with pytest.raises(UserError, match=rf"{name} .*unpacks? to .*bytes.*; save"):
        read_table(tmp_path, table=Path(name))


def test_a_limit_counts_rows_whatever_the_groups_they_are_stored_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"key": [f"k{number}" for number in range(20)]})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=2)
    monkeypatch.setattr("shards.sources.table_formats.ROWS_AT_ONCE", 4)
    for limit in (1, 5, 12, 30):
        assert len(read_table(tmp_path, limit, table=Path("a.parquet")).rows) == min(limit, 20)


def test_a_limit_holds_for_every_format(tmp_path: Path) -> None:
    header, rows = ["key", "longitude", "latitude"], [["1", 1, 2], ["2", 3, 4]]
    as_xlsx(tmp_path / "a.xlsx", [header, *rows])
    pd.DataFrame(rows, columns=header).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("key,longitude,latitude\n1,1,2\n2,3,4\n")
    points = [feature({"type": "Point", "coordinates": [row[1], row[2]]}, key=row[0]) for row in rows]
    (tmp_path / "a.geojson").write_text(json.dumps({"features": points}))
    (tmp_path / "a.gpx").write_text(GPX.format('<wpt lat="2" lon="1"><name>1</name></wpt>' * 2))
    for suffix in ("xlsx", "parquet", "csv", "geojson", "gpx"):
        table = read_table(tmp_path, 1, table=Path(f"a.{suffix}"))
        assert [(table.key_text(row), row["longitude"], row["latitude"]) for _, row in table.rows] == [("1", "1", "2")]


def test_a_missing_table_is_named_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "Sites 2024.xlsx").touch()
    with pytest.raises(UserError, match=r"has no metadata.csv; .* --table with one of: Sites 2024.xlsx"):
        read_table(tmp_path)
    with pytest.raises(UserError, match=r"--table sites.csv: no such file, and no .*sites.csv"):
        read_table(tmp_path, table=Path("sites.csv"))


def test_whole_numbers_of_a_data_frame_are_keys_without_their_point(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("key,longitude,latitude\n1.0,2,3\n12.0,2,3\n,2,3\n")
    table = read_table(tmp_path)
    assert [table.key_text(row) for _, row in table.rows] == ["1", "12", ""]
    assert table.notices == ("keys are whole numbers: 1.0 is read as 1",)
    (tmp_path / "metadata.csv").write_text("key,longitude,latitude\n1.0,2,3\n1.5,2,3\n")
    table = read_table(tmp_path)
    assert ([table.key_text(row) for _, row in table.rows], table.notices) == (["1.0", "1.5"], ())


def test_keys_are_made_from_names_of_files_that_are_all_different(tmp_path: Path) -> None:
    header = "wav,tile,lon,lat\n"
    rows = {"d1/a 1.wav,t.tif": "d1/a 1", "d2\\b.v2.WAV,t.tif": "d2/b.v2", "./c,u.tif": "c"}
    (tmp_path / "metadata.csv").write_text(header + "".join(f"{row},1,2\n" for row in rows))
    table = read_table(tmp_path)
    assert [table.key_text(row) for _, row in table.rows] == list(rows.values())
    assert table.notices[-1] == "metadata.csv has no column of keys; keys are made from the names of the sounds"
    (tmp_path / "metadata.csv").write_text(header + "a.wav,1.tif,1,2\na.wav,2.tif,1,2\n")
    table = read_table(tmp_path)
    assert [table.key_text(row) for _, row in table.rows] == ["1", "2"]
