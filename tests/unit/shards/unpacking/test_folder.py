"""The folder of an unpacked set and its table: what is kept, what is done again, and what names and keys become."""

from __future__ import annotations

import csv
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shards.errors import UserError
from shards.unpacking.folder import Row, Unpacked
from shards.unpacking.samples import Content, ForeignSample, PackedFile
from shards.unpacking.table import Fields, roles_in, write_table

JPEG, FLAC = Content(b"\xff\xd8\xff image", ".jpg"), Content(b"fLaC sound", ".flac")
PLACE = {"longitude": "7", "latitude": "50"}


def packed(*names: str, split: str | None = None) -> list[PackedFile]:
    return [PackedFile(name, name, split, 10) for name in names]


def reading(samples: dict[str, Sequence[ForeignSample]], read: list[str]) -> Any:
    def of(file: PackedFile) -> Iterator[ForeignSample]:
        read.append(file.name)
        yield from samples[file.name]

    return of


def unpack(
    folder: Path, samples: dict[str, Sequence[ForeignSample]], read: list[str], limit: int | None = None, **plan: Any
) -> list[list[Row]]:
    return Unpacked(folder).unpack(packed(*samples), plan, reading(samples, read), lambda file, rows: None, limit)


def test_untrusted_names_lead_nowhere_and_files_are_written_once(tmp_path: Path) -> None:
    keys = ["../../evil", "/etc/passwd", "a\x00b", "con", "x" * 3000]
    samples = {"a.tar": [ForeignSample(key, JPEG, FLAC, PLACE) for key in keys], "b.tar": []}
    read: list[str] = []
    for _ in range(2):
        rows = unpack(tmp_path / "out", samples, read)
    assert read == ["a.tar", "b.tar"]
    assert [row.key for row in rows[0]] == keys
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    for number, row in enumerate(rows[0]):
        assert row.image == f"images/000000/{number:07d}.jpg"
        assert (tmp_path / "out" / row.image).read_bytes() == JPEG.data
        assert (tmp_path / "out" / row.sound).read_bytes() == FLAC.data


def test_what_a_kill_left_is_written_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    samples = {name: [ForeignSample(f"{name} 1", JPEG, FLAC)] for name in ("a", "b", "c")}
    wanted = unpack(tmp_path / "whole", samples, [])

    def killed(file: PackedFile) -> Iterator[ForeignSample]:
        yield ForeignSample("b 0", Content(b"half", ".png"), None)
        if file.name == "b":
            raise KeyboardInterrupt
        yield from samples[file.name]

    folder = Unpacked(tmp_path / "out")
    samples["a"] = [ForeignSample("a 1", JPEG, FLAC)]
    unpack_a = reading(samples, [])
    with pytest.raises(KeyboardInterrupt):
        folder.unpack(
            packed("a", "b", "c"), {}, lambda file: killed(file) if file.name == "b" else unpack_a(file), no_judge, None
        )
    assert (tmp_path / "out" / "images" / "000001" / "0000000.png").exists()
    read: list[str] = []
    assert unpack(tmp_path / "out", samples, read) == wanted
    assert read == ["b", "c"]
    assert not (tmp_path / "out" / "images" / "000001" / "0000000.png").exists()


def no_judge(file: PackedFile, rows: Sequence[Row]) -> None:
    """Accepts everything."""


def test_another_plan_starts_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = {
        "a": [ForeignSample("1", JPEG, FLAC), ForeignSample("2", JPEG, FLAC)],
        "b": [ForeignSample("3", None, FLAC)],
    }
    read: list[str] = []
    unpack(tmp_path / "out", samples, read, image="jpg")
    unpack(tmp_path / "out", samples, read, image="png")
    assert read == ["a", "b", "a", "b"]
    assert "was unpacked with other options or files; again" in capsys.readouterr().err
    assert [len(rows) for rows in unpack(tmp_path / "out", samples, read, limit=1)] == [1]
    assert [len(rows) for rows in unpack(tmp_path / "out", samples, read, limit=3)] == [2, 1]


def test_an_image_and_a_sound_that_are_apart_are_joined(tmp_path: Path) -> None:
    samples = {
        "a": [
            *(ForeignSample("1", JPEG, None, {"x": "1"}), ForeignSample("2", JPEG, None)),
            *(ForeignSample("1", None, FLAC, {"y": "2"}), ForeignSample("2", None, None, {"z": "3"})),
            ForeignSample("1", JPEG, FLAC),
        ]
    }
    [rows] = unpack(tmp_path / "out", samples, [])
    assert [(row.key, bool(row.image), bool(row.sound), row.fields) for row in rows] == [
        *(("1", True, True, {"x": "1", "y": "2"}), ("2", True, False, {"z": "3"}), ("1", True, True, {}))
    ]


def test_files_are_linked_or_copied_and_outlive_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    samples = {"a": [ForeignSample("1", JPEG, Content(tmp_path / "a.flac", ".flac"))]}
    [[row]] = unpack(tmp_path / "out", samples, [])
    assert (tmp_path / "out" / row.sound).read_bytes() == b"fLaC"
    Unpacked(tmp_path / "out").remove()
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "a.flac").read_bytes() == b"fLaC"


def test_a_folder_of_something_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="is not empty, and the set would be unpacked there"):
        unpack(tmp_path / "out", {"a": []}, [])
    Unpacked(tmp_path / "out").remove()
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    read: list[str] = []
    with pytest.raises(UserError, match=r"has 0.0 MB free, and unpacking needs about 0.0 MB beside the shards"):
        unpack(tmp_path / "out", {"a": []}, read)
    assert read == []


def test_two_processes_unpack_once(tmp_path: Path) -> None:
    begun, read = threading.Event(), list[str]()
    samples = {name: [ForeignSample(f"{name} 1", JPEG, FLAC)] for name in "abcdef"}
    found: list[list[list[Row]]] = []

    def slowly(file: PackedFile) -> Iterator[ForeignSample]:
        begun.set()
        yield from reading(samples, read)(file)

    threads = [
        threading.Thread(
            target=lambda: found.append(Unpacked(tmp_path / "out").unpack(packed(*samples), {}, slowly, no_judge, None))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun.is_set()
    assert read == list("abcdef")
    assert found[0] == found[1] == found[2]


# The table


def table_of(folder: Path, files: list[PackedFile], rows: list[list[Row]], **given: str) -> tuple[Any, list[str]]:
    folder.mkdir(exist_ok=True)
    notices = write_table(folder, files, rows, Fields("the set", given, finds_key=False))
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), notices


def row(key: str, /, **fields: str) -> Row:
    return Row(key, f"images/{key}.jpg", f"audio/{key}.flac", fields)


def test_coordinates_are_found_by_the_last_part_of_a_name(tmp_path: Path) -> None:
    rows = [row("a", **{"meta.where.latitude": "1", "meta.where.longitude": "2", "note": "=x\u2028y"})]
    [found], notices = table_of(tmp_path, packed("a"), [rows])
    assert (found["longitude"], found["latitude"], found["note"]) == ("2", "1", "=x\u2028y")
    assert "longitude from 'meta.where.longitude'" in notices[0]
    doubled = [row("a", **{"x.lat": "1", "x.lon": "2", "y.lat": "3", "y.lon": "4"})]
    with pytest.raises(
        UserError, match=r"has no longitude and latitude, .*; its fields are: x.lat, x.lon, y.lat, y.lon"
    ):
        table_of(tmp_path, packed("a"), [doubled])
    [found], _ = table_of(tmp_path, packed("a"), [doubled], longitude="y.lon", latitude="y.lat")
    assert (found["longitude"], found["latitude"]) == ("4", "3")


def test_fields_named_like_columns_of_the_table_change_nothing(tmp_path: Path) -> None:
    rows = [row("a", key="other", image="b.jpg", mp3name="c.mp3", unpacked_reason="no", lat="1", lon="2", split="odd")]
    [found], _ = table_of(tmp_path, packed("a"), [rows])
    assert (found["key"], found["image"], found["mp3name"]) == ("a", "images/a.jpg", "audio/a.flac")
    assert (found["unpacked_reason"], found["split"]) == ("", "")
    assert (found["key_"], found["image_"], found["unpacked_reason_"]) == ("other", "b.jpg", "no")


def test_splits_are_those_of_a_field_else_of_the_names_of_all_files(tmp_path: Path) -> None:
    files = [PackedFile("a", "train-a", "train", 1), PackedFile("b", "val-b", "val", 1)]
    rows = [[row("1", **PLACE)], [row("2", **PLACE)]]
    assert [found["split"] for found in table_of(tmp_path, files, rows)[0]] == ["train", "val"]
    stated = [[row("1", **PLACE, split="Validation")], [row("2", **PLACE, split="test")]]
    assert [found["split"] for found in table_of(tmp_path, files, stated)[0]] == ["val", "test"]
    files[1] = PackedFile("b", "more-b", None, 1)
    found, notices = table_of(tmp_path, files, rows)
    assert [each["split"] for each in found] == ["", ""]
    assert notices == ["the name of more-b says no split, those of other files do: splits in names are not used"]


GEOSOUND = (
    *(
        "sample_id",
        "source",
        "audio_caption",
        "audio_caption_source",
        "llava_caption_bingmap_zl1",
        "latitude",
        "longitude",
    ),
    *("date", "description", "tags", "title", "scientific_name", "common_name", "sound_format", "text", "address"),
    *("original_sampling_rate", "bin_id"),
)
"""Columns of MVRL/GeoSound but its media, as its authors' code writes them."""


def test_the_columns_of_the_hubs_corpora_are_guessed() -> None:
    fields = Fields("the set", {}, finds_key=True)
    values = {name: f"{name} {{}}" for name in GEOSOUND} | {"latitude": "1", "longitude": "2"}
    rows = [row(f"row {n}", **{name: text.format(n) for name, text in values.items()}) for n in range(20)]
    roles = roles_in(rows, fields)
    assert roles.columns == {"longitude": "longitude", "latitude": "latitude", "key": "sample_id"}
    assert roles.properties == {"title": ("title",), "description": ("description",), "date_recorded": ("date",)}
    named = roles_in(rows, Fields("the set", {"description": "audio_caption"}, finds_key=True))
    assert named.properties["description"] == ("audio_caption",)
