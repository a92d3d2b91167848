"""The tables of a collection: rows keep their order and their text, and a kill between two writes loses none."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.collecting import collection as collection_module
from shards.collecting.collection import EXCLUDED_NAME, Collection
from shards.errors import UserError

TABLE = "metadata.csv"


def write(root: Path, keys: list[str]) -> Path:
    (root / TABLE).write_text("key,title,mp3name\n" + "".join(f"{key},title {key},{key}.wav\n" for key in keys))
    return root


def keys_of(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["key"] for row in csv.DictReader(file)]


@settings(max_examples=30)
@given(steps=st.lists(st.sets(st.integers(0, 7)), max_size=5))
def test_any_exclusions_and_restorations_end_in_the_same_table(
    steps: list[set[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("table")
    keys = [f"k{number}" for number in range(8)]
    write(root, keys)
    before = (root / TABLE).read_bytes()
    for excluded in [*steps, set()]:
        rows = Collection.load(root)
        for number, row in enumerate(rows.rows):
            assert row.key == keys[number]
            if number in excluded:
                row.exclude("test", f"because, {number}")
            else:
                row.include()
        rows.save()
        assert keys_of(root / TABLE) == [key for number, key in enumerate(keys) if number not in excluded]
        out = keys_of(root / EXCLUDED_NAME) if (root / EXCLUDED_NAME).exists() else []
        assert out == [key for number, key in enumerate(keys) if number in excluded]
    assert (root / TABLE).read_bytes() == before


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
@pytest.mark.parametrize("restores", [False, True])
def test_no_row_is_lost_by_a_kill_between_two_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int, restores: bool
) -> None:
    rows = Collection.load(write(tmp_path, ["a", "b", "c"]))
    rows.rows[1].exclude("test", "x")
    rows.save()
    rows = Collection.load(tmp_path)
    if restores:
        rows.rows[1].include()
    rows.rows[0].exclude("test", "y")
    left = [writes]
    real = collection_module.write_text_atomically

    def killed(path: Path, text: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(path, text)

    monkeypatch.setattr(collection_module, "write_text_atomically", killed)
    try:
        rows.save()
    except KeyboardInterrupt:
        monkeypatch.undo()
    else:
        assert writes >= 2 + restores
    found = Collection.load(tmp_path)
    assert [row.key for row in found.rows] == ["a", "b", "c"]
    assert {row.key for row in found.included} in ({"a", "c"}, {"c"}, {"b", "c"}, {"a", "b", "c"})


def test_rows_are_added_and_known_ones_stay_as_they_are(tmp_path: Path) -> None:
    rows = Collection.load(write(tmp_path, ["a", "b"]))
    rows.set_fields(rows.rows[0], {"image_date": "2020"})
    rows.rows[1].exclude("test", "x")
    rows.save()
    rows = Collection.load(tmp_path)
    rows.add([{"key": "a", "title": "new"}, {"key": "b", "title": "newer"}, {"key": "c", "title": "=1"}])
    rows.save()
    assert (tmp_path / TABLE).read_text() == "key,title,mp3name,image_date\na,title a,a.wav,2020\nc,'=1,,\n"
    assert "title b" in (tmp_path / EXCLUDED_NAME).read_text()


def test_all_rows_may_be_excluded_and_come_back(tmp_path: Path) -> None:
    rows = Collection.load(write(tmp_path, ["a"]))
    rows.rows[0].exclude("test", "x")
    rows.save()
    rows = Collection.load(tmp_path)
    assert rows.included == []
    rows.rows[0].include()
    rows.save()
    assert keys_of(tmp_path / TABLE) == ["a"]


def test_own_text_of_the_user_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text('Site ID;Lon;Lat;Note\nS 1;-7,25;50,5;"-a; b"\n', encoding="utf-8")
    rows = Collection.load(tmp_path)
    assert (rows.rows[0].key.startswith("S_1-"), rows.field(rows.rows[0], "longitude")) == (True, "-7,25")
    rows.save()
    assert (tmp_path / TABLE).read_text() == 'Site ID,Lon,Lat,Note\nS 1,"-7,25","50,5",-a; b\n'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("key,title\n1,a\n", "has no column 'excluded_row'"),
        ("excluded_row,excluded_by,excluded_because,key\nx,me,y,1\n", "line 2 lacks"),
    ],
)
def test_a_damaged_list_of_exclusions_is_named(tmp_path: Path, text: str, match: str) -> None:
    (write(tmp_path, ["a"]) / EXCLUDED_NAME).write_text(text)
    with pytest.raises(UserError, match=match):
        Collection.load(tmp_path)


def test_rows_that_are_none_are_fixed_first(tmp_path: Path) -> None:
    (write(tmp_path, ["a"]) / TABLE).write_text("key,title\na,b,c\n")
    with pytest.raises(UserError, match="line 2 has more fields than there are columns; fix it first"):
        Collection.load(tmp_path)


def test_a_folder_without_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no metadata\.csv; give the folder of a collection"):
        Collection.load(tmp_path / "none")
