"""Collecting from an archive: each sound once, every exclusion counted, and an archive that changes meanwhile."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_server import ArchiveServer, Fault, serve_archive

from shards.collecting.aporee import PAGE_ITEMS, AporeeArchive
from shards.collecting.archive_items import ItemArchive, plain_text, seconds_of
from shards.collecting.collecting_sounds import LEDGER_NAME, REJECTED_NAME, SoundCollector, Totals
from shards.collecting.ledger import opened_ledger
from shards.collecting.options import AporeeOptions
from shards.collecting.sound_archive import is_within
from shards.collecting.web import Web, WebSettings
from shards.errors import UserError
from shards.streaming.fetching import RetryRule

ID = "aporee_100_{}"
LICENCE = "http://creativecommons.org/licenses/by/3.0/"


@pytest.fixture
def archive() -> Iterator[ArchiveServer]:
    with serve_archive() as server:
        for number in range(5):
            content = bytes([number + 1]) * 5000
            server.add(
                ID.format(number), {f"sound{number}.mp3": content}, coverage=f"{50 + number}.5,7.25",
                title=f"place {number}", creator="A", licenseurl=LICENCE, date="2019-05-01",
            )  # fmt: skip
        yield server


def collect(server: ArchiveServer, out: Path, **more: Any) -> Totals:
    options = AporeeOptions(**{"out": out, "base_url": server.url, "rate": 1000.0, **more})
    options.check()
    web = Web(WebSettings(options.rate, retry=RetryRule(2, 0.01, 0.02)))
    out.mkdir(exist_ok=True)
    with opened_ledger(out / LEDGER_NAME) as ledger:
        archive = AporeeArchive(ItemArchive(web, server.url), options)
        return SoundCollector(archive, web, ledger, out, options).collect()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reasons(out: Path) -> dict[str, str]:
    return {row["identifier"]: row["reason"] for row in rows_of(out / REJECTED_NAME)}


def test_rows_and_sounds_are_as_the_archive_states_them(archive: ArchiveServer, tmp_path: Path) -> None:
    totals = collect(archive, tmp_path)
    rows = rows_of(tmp_path / "metadata.csv")
    assert (totals.fetched, totals.num_bytes, len(rows)) == (5, 25_000, 5)
    first = rows[0]
    assert (first["key"], first["longitude"], first["latitude"]) == (ID.format(0), "7.25", "50.5")
    assert (first["mp3name"], first["original_name"]) == (f"{ID.format(0)}.mp3", "sound0.mp3")
    assert (first["licence"], first["title"]) == (LICENCE, "place 0")
    assert (first["date_recorded"], first["seconds"], first["bytes"]) == ("2019-05-01", "30.5", "5000")
    assert first["checksum"].startswith("sha1:")
    assert (tmp_path / "audio" / first["mp3name"]).read_bytes() == bytes([1]) * 5000
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == sorted(row["mp3name"] for row in rows)


def test_a_second_run_asks_for_nothing(archive: ArchiveServer, tmp_path: Path) -> None:
    collect(archive, tmp_path)
    table = (tmp_path / "metadata.csv").read_bytes()
    archive.requests.clear()
    assert collect(archive, tmp_path).fetched == 0
    assert archive.requests == []
    assert (tmp_path / "metadata.csv").read_bytes() == table


def test_refresh_lists_again_and_fetches_what_is_new_alone(archive: ArchiveServer, tmp_path: Path) -> None:
    collect(archive, tmp_path)
    archive.requests.clear()
    archive.add("aporee_new_1", {"n.mp3": b"new"}, coverage="1.5,2.5")
    assert collect(archive, tmp_path, refresh=True).fetched == 1
    assert archive.paths("/metadata/") == ["/metadata/aporee_new_1"]
    assert len(rows_of(tmp_path / "metadata.csv")) == 6


def test_pages_are_read_by_cursor_and_each_once(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.page_items = 2
    collect(archive, tmp_path)
    cursors = [request.query.get("cursor") for request in archive.requests if "scrape" in request.path]
    assert len(cursors) == len(set(cursors)) == 3
    assert len(rows_of(tmp_path / "metadata.csv")) == 5


def test_an_expired_cursor_lists_from_the_beginning(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.page_items = 2
    path = "/services/search/v1/scrape"
    archive.faults[path] = [Fault(), Fault(status=400)]
    assert collect(archive, tmp_path).fetched == 5
    assert sorted(archive.paths("/metadata/")) == sorted(f"/metadata/{ID.format(n)}" for n in range(5))
    archive.always[path] = Fault(status=400)
    with pytest.raises(UserError, match="can't be listed: HTTP 400"):
        collect(archive, tmp_path, refresh=True)


def test_every_exclusion_has_its_reason(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.add("silent", {"cover.jpg": b"x"}, coverage="50.5,7.5")
    archive.add("nowhere", {"a.mp3": b"x"}, coverage="on the road")
    archive.add("outside", {"a.mp3": b"x"}, coverage="10.5,7.5")
    archive.add("outside_by_its_record", {"a.mp3": b"x"}, coverage="50.5,7.5", latitude="10.5", longitude="7.5")
    archive.add("short", {"a.mp3": b"x"}, length="0.5", coverage="50.5,7.5")
    archive.add("large", {"a.mp3": bytes(200_000)}, coverage="50.5,7.5")
    archive.add("changed", {"a.mp3": b"right"}, coverage="50.5,7.5")
    archive.contents["changed", "a.mp3"] = b"wrong"
    archive.add("private", {"a.mp3": b"x"}, coverage="50.5,7.5")
    archive.items["private"]["files"][1]["private"] = "true"
    archive.add("forbidden", {"a.mp3": b"x"}, coverage="50.5,7.5")
    archive.always["/0/items/forbidden/a.mp3"] = Fault(status=403)
    archive.add("dark", {"a.mp3": b"x"}, coverage="50.5,7.5")
    archive.items["dark"] |= {"is_dark": True}
    archive.add("gone", {"a.mp3": b"x"}, coverage="50.5,7.5")
    archive.always["/metadata/gone"] = Fault(body=b"{}")
    archive.add("down", {"a.mp3": b"x"}, coverage="50.5,7.5")
    archive.always["/0/items/down/a.mp3"] = Fault(status=503)
    totals = collect(archive, tmp_path, bbox=(7.0, 50.0, 8.0, 60.0), max_file_mb=0.1)
    assert totals.fetched == 5
    assert reasons(tmp_path) == {
        **{"silent": "no sound file", "nowhere": "no coordinates", "outside": "outside the box"},
        **{"outside_by_its_record": "outside the box", "short": "too short", "large": "file too large"},
        **{"changed": "wrong checksum", "private": "no sound file", "forbidden": "refused by the server"},
        **{"dark": "item is gone", "gone": "item is gone", "down": "not reachable"},
    }
    # An item that the list shows to be outside is not asked for.
    assert "/metadata/outside" not in archive.paths()
    assert not list((tmp_path / "audio").glob(".*changed*"))


def test_what_was_not_reachable_is_tried_again_and_nothing_else(archive: ArchiveServer, tmp_path: Path) -> None:
    name = f"/0/items/{ID.format(2)}/sound2.mp3"
    archive.always[name] = Fault(status=503)
    archive.add("nowhere", {"a.mp3": b"x"}, coverage="?")
    assert collect(archive, tmp_path).fetched == 4
    archive.requests.clear()
    archive.always.clear()
    assert collect(archive, tmp_path).fetched == 1
    assert archive.paths() == [f"/download/{ID.format(2)}/sound2.mp3", name]
    assert list(reasons(tmp_path)) == ["nowhere"]


def test_a_server_that_is_down_ends_the_command(archive: ArchiveServer, tmp_path: Path) -> None:
    for number in range(5):
        archive.always[f"/0/items/{ID.format(number)}/sound{number}.mp3"] = Fault(status=503)
    with pytest.raises(UserError, match=r"5 sounds in a row could not be reached, .* it resumes"):
        collect(archive, tmp_path)
    assert len(reasons(tmp_path)) == 5


def test_a_file_that_is_replaced_while_it_is_collected(archive: ArchiveServer, tmp_path: Path) -> None:
    """The record is asked for once more, and the new file is taken."""
    name = ID.format(0)
    record = dict(archive.items[name], files=[dict(file) for file in archive.items[name]["files"]])
    archive.replace(name, "sound0.mp3", b"newer")
    new, archive.items[name] = archive.items[name], record
    archive.faults[f"/0/items/{name}/sound0.mp3"] = [Fault(), Fault()]
    seen: list[str] = []

    class Switching(dict[str, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            seen.append(key)
            return new if key == name and seen.count(name) > 1 else dict.get(self, key, default)

    archive.items = Switching(archive.items)
    assert collect(archive, tmp_path).fetched == 5
    assert (tmp_path / "audio" / f"{name}.mp3").read_bytes() == b"newer"
    assert archive.paths("/metadata/").count(f"/metadata/{name}") == 2


def test_limits_that_change_are_applied_to_what_they_left_out(archive: ArchiveServer, tmp_path: Path) -> None:
    assert collect(archive, tmp_path, bbox=(7.0, 50.0, 8.0, 52.0)).fetched == 2
    assert collect(archive, tmp_path, bbox=(7.0, 50.0, 8.0, 53.0)).fetched == 1
    assert set(reasons(tmp_path).values()) == {"outside the box"}
    assert len(reasons(tmp_path)) == 2


def test_limit_takes_the_first_of_the_list_and_can_grow(archive: ArchiveServer, tmp_path: Path) -> None:
    assert collect(archive, tmp_path, limit=2).fetched == 2
    assert len(archive.paths("/metadata/")) == 2
    assert collect(archive, tmp_path, limit=3).fetched == 1
    assert collect(archive, tmp_path).fetched == 2


def test_since_is_asked_for_and_checked(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.add("late", {"a.mp3": b"x"}, coverage="50.5,7.5", publicdate="2024-01-02 00:00:00")
    assert collect(archive, tmp_path, since="2024-01-01").fetched == 1
    assert archive.requests[0].query["q"] == "collection:radio-aporee-maps AND publicdate:[2024-01-01 TO 9999-12-31]"


@pytest.mark.parametrize("identifier", ["../../etc", "a/b", "", ".hidden", "x" * 200])
def test_identifiers_that_are_none_are_left_out(
    archive: ArchiveServer, tmp_path: Path, identifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add(identifier, {"a.mp3": b"x"}, coverage="50.5,7.5")
    assert collect(archive, tmp_path).fetched == 5
    assert "1 items of a page have no valid identifier" in capsys.readouterr().err


def test_names_of_files_stay_on_the_server(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.add("bad", {"../../../evil name #1?.MP3": b"sound"}, coverage="50.5,7.5")
    archive.redirects = False
    collect(archive, tmp_path / "out", limit=10)
    assert (tmp_path / "out" / "audio" / "bad.mp3").exists() or reasons(tmp_path / "out") == {
        "bad": "refused by the server"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_untrusted_text_is_plain_and_harmless(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.add(
        "html", {"a.mp3": b"x"}, coverage="50.5,7.5", title="=HYPERLINK(1)", creator=["A", "B"],
        description="<p>birds &amp; <b>bees</b></p>\x1b[2J",
    )  # fmt: skip
    collect(archive, tmp_path)
    row = rows_of(tmp_path / "metadata.csv")[-1]
    assert (row["title"], row["creator"]) == ("'=HYPERLINK(1)", "A; B")
    assert row["description"] == "birds & bees \ufffd[2J"


def test_a_large_collection_needs_a_yes(
    archive: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.items[ID.format(0)]["item_size"] = 5 << 30
    with pytest.raises(UserError, match=r"5 sounds of at most 5\.4 GB need your word; add --yes"):
        collect(archive, tmp_path)
    assert archive.paths("/metadata/") == []
    assert "435 GB" not in capsys.readouterr().err
    assert collect(archive, tmp_path, yes=True).fetched == 5


def test_a_disk_that_is_too_small_is_noticed_before(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.items[ID.format(0)]["item_size"] = 1 << 49
    with pytest.raises(UserError, match=r"free, and 562,950\.0 GB may be needed"):
        collect(archive, tmp_path, yes=True)


def test_two_commands_at_once_are_refused(archive: ArchiveServer, tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    with opened_ledger(tmp_path / LEDGER_NAME), pytest.raises(UserError, match="another collect works in"):
        collect(archive, tmp_path)


def test_a_damaged_ledger_is_named(archive: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match=r"ledger.sqlite is damaged .*; move it away"):
        collect(archive, tmp_path)


def test_originals_come_before_what_was_derived(archive: ArchiveServer, tmp_path: Path) -> None:
    archive.add("both", {"a.ogg": b"derived and longer", "a.wav": b"original"}, coverage="50.5,7.5")
    archive.items["both"]["files"][1]["source"] = "derivative"
    collect(archive, tmp_path)
    assert (tmp_path / "audio" / "both.wav").read_bytes() == b"original"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rate": 0.0}, "--rate must be > 0"),
        ({"attempts": 0}, "--attempts must be at least 1"),
        ({"contact": "a\nb"}, "--contact .* printable ASCII"),
        ({"bbox": (0.0, 10.0, 1.0, 5.0)}, "--bbox 0 10 1 5 must be WEST SOUTH EAST NORTH"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"since": "May 2020"}, "--since must be a date"),
        ({"collection": "a OR b"}, "--collection must be a name"),
        ({"base_url": "ftp://x"}, "--base-url must be an http or https address"),
        ({"max_file_mb": 0.0}, "--max-file-mb must be > 0"),
    ],
)
def test_mistakes_are_one_sentence(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        dataclasses.replace(AporeeOptions(out=Path()), **options).check()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("183.25", 183.25), ("3:03", 183.0), ("1:00:01.5", 3601.5), ("", None), ("long", None), (None, None)],
)
def test_lengths_are_read_as_the_archive_writes_them(text: str | None, seconds: float | None) -> None:
    assert seconds_of({"length": text}) == seconds


@pytest.mark.parametrize(
    ("box", "inside", "outside"),
    [
        ((5.0, 45.0, 10.0, 50.0), [(5.0, 45.0), (10.0, 50.0), (7.0, 47.0)], [(4.9, 47.0), (7.0, 50.1), (-7.0, 47.0)]),
        ((170.0, -20.0, -170.0, 0.0), [(175.0, -5.0), (-175.0, -5.0), (180.0, -5.0)], [(160.0, -5.0), (0.0, -5.0)]),
    ],
)
def test_boxes_include_their_borders_and_may_cross_the_antimeridian(
    box: tuple[float, float, float, float], inside: list[tuple[float, float]], outside: list[tuple[float, float]]
) -> None:
    assert all(is_within(box, *place) for place in inside)
    assert not any(is_within(box, *place) for place in outside)


def test_plain_text_has_no_markup() -> None:
    assert plain_text(["<i>a</i>", "b\n c"]) == "a ; b c"
    assert len(plain_text("x" * 100_000)) <= 4000


def test_pages_are_of_a_size_that_the_archive_takes() -> None:
    assert 100 <= PAGE_ITEMS <= 10_000
