"""Sounds from a table of addresses: roles as for a build, checksums, and a reason for each row that is left out."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_server import ArchiveServer, Fault, serve_archive

from shards.collecting.commands import run_aporee, run_sounds
from shards.collecting.ledger import opened_ledger
from shards.collecting.options import AporeeOptions, SoundTableOptions
from shards.errors import UserError


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with serve_archive() as archive:
        archive.add("a", {"1.wav": b"one", "2.ogg": b"two", "3": b"three"})
        yield archive


def collect(table: Path, out: Path, **more: Any) -> None:
    options = SoundTableOptions(**{"table": table, "out": out, "rate": 1000.0, "backoff": 0.01, "attempts": 2, **more})
    options.check()
    run_sounds(options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_any_table_become_a_collection(server: ArchiveServer, tmp_path: Path) -> None:
    at = f"{server.url}/0/items/a"
    sha = hashlib.sha256(b"one").hexdigest()
    (tmp_path / "list.csv").write_text(
        "Standort;Lon;Lat;Download;Urheber;Gebiet;sha256;bytes\n"
        f"S 1;7,25;50,5;{at}/1.wav?x=1;Ann;north;{sha};3\n"
        f"S2;8;-50;{at}/2.ogg;Bob;south;;\n"
        f"S3;8;50;{at}/3;Bob;south;;5\n"
        f"S4;8;50;{at}/4.wav;Bob;south;;\n"
        f"S5;8;95;{at}/1.wav;Bob;south;;\n"
        "S6;8;50;ftp://x/1.wav;Bob;south;;\n"
        f"S7;8;50;{at}/1.wav;Bob;south;{'0' * 64};\n"
        f"S2;9;50;{at}/1.wav;Bob;south;;\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    collect(tmp_path / "list.csv", out, url_column="download", column=(("key=Standort",),))
    rows = rows_of(out / "metadata.csv")
    assert [row["mp3name"].partition("-")[0] for row in rows] == ["S_1", "S2.ogg", "S3.mp3"]
    assert rows[0]["original_key"] == "S 1"
    assert rows[0]["checksum"] == f"sha256:{sha}"
    assert (rows[0]["longitude"], rows[0]["creator"], rows[0]["Gebiet"]) == ("7.25", "Ann", "north")
    assert (out / "audio" / rows[0]["mp3name"]).read_bytes() == b"one"
    rejected = {row["identifier"]: row["reason"] for row in rows_of(out / "rejected-sounds.csv")}
    assert rejected == {
        **{"S4": "refused by the server", "S5": "no coordinates", "S6": "no address", "S7": "wrong checksum"},
        "S2 (line 9)": "duplicate key",
    }


def test_a_second_run_asks_for_nothing_and_a_corrected_table_for_what_changed(
    server: ArchiveServer, tmp_path: Path
) -> None:
    table, out, at = tmp_path / "list.csv", tmp_path / "out", f"{server.url}/0/items/a"
    table.write_text(f"key,lon,lat,url\n1,7,50,{at}/1.wav\n2,7,950,{at}/2.ogg\n")
    collect(table, out)
    server.requests.clear()
    collect(table, out)
    assert server.requests == []
    table.write_text(f"key,lon,lat,url\n1,7,50,{at}/1.wav\n2,7,50,{at}/2.ogg\n")
    collect(table, out)
    assert server.paths() == ["/0/items/a/2.ogg"]
    assert [row["key"] for row in rows_of(out / "metadata.csv")] == ["1", "2"]
    assert rows_of(out / "rejected-sounds.csv") == []


def test_a_sound_that_never_ends_is_cut_at_the_limit(server: ArchiveServer, tmp_path: Path) -> None:
    server.contents["a", "1.wav"] = bytes(50_000)
    (tmp_path / "l.csv").write_text(f"key,lon,lat,url\n1,7,50,{server.url}/0/items/a/1.wav\n")
    collect(tmp_path / "l.csv", tmp_path / "out", max_file_mb=0.01)
    assert rows_of(tmp_path / "out" / "rejected-sounds.csv")[0]["detail"].endswith("more than 10,000 bytes")


def test_a_key_with_a_leading_minus_is_found_again(server: ArchiveServer, tmp_path: Path) -> None:
    """A spreadsheet would take it for a formula, so the table writes an apostrophe before it."""
    from shards.sources.recordings import RecordingsSource
    from shards.sources.source import SourceOptions

    (tmp_path / "l.csv").write_text(f"key,lon,lat,url\n-a,7,50,{server.url}/0/items/a/1.wav\n")
    out = tmp_path / "out"
    collect(tmp_path / "l.csv", out)
    from shards.collecting.collection import Collection

    key = Collection.load(out).rows[0].key
    (out / "images").mkdir()
    (out / "images" / f"{key}.jpg").write_bytes(b"x")
    listing = RecordingsSource(SourceOptions(out)).list_pairs()
    assert [pair.key for pair in listing.pairs] == [key], listing.rejected


@pytest.mark.parametrize(
    ("text", "words", "match"),
    [
        ("key,lon,lat\n1,2,3\n", {}, "has no column 'url'; name the one with the addresses with --url-column"),
        ("key,url\n1,http://x\n", {}, "has no column for longitude and latitude"),
        ("key,lon,lat,url\n1,2,3,http://x\n", {"column": (("lon",),)}, "--column lon: give role=NAME"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, words: dict[str, Any], match: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(UserError, match=match):
        collect(tmp_path / "l.csv", tmp_path / "out", **words)


def test_a_server_without_lengths_is_read_to_its_end(server: ArchiveServer, tmp_path: Path) -> None:
    server.faults["/0/items/a/1.wav"] = [Fault(cut_after=1)]
    (tmp_path / "l.csv").write_text(f"key,lon,lat,url\n1,7,50,{server.url}/0/items/a/1.wav\n")
    collect(tmp_path / "l.csv", tmp_path / "out")
    assert (tmp_path / "out" / "audio" / "1.wav").read_bytes() == b"one"


def test_a_folder_holds_a_collection_of_one_kind(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"key,lon,lat,url\n1,7,50,{server.url}/0/items/a/1.wav\n")
    collect(tmp_path / "l.csv", tmp_path / "out")
    with pytest.raises(UserError, match="holds a collection by `collect sounds`; give another --out"):
        run_aporee(AporeeOptions(out=tmp_path / "out", base_url=server.url))


@pytest.mark.parametrize("key", ["../../evil", "a/b", ""])
def test_an_untrusted_ledger_names_no_file_elsewhere(server: ArchiveServer, tmp_path: Path, key: str) -> None:
    (tmp_path / "l.csv").write_text(f"key,lon,lat,url\n1,7,50,{server.url}/0/items/a/1.wav\n")
    sound = {"url": "http://x", "size": None, "largest": 9, "checksums": {}, "suffix": ".wav", "row": {"key": key}}
    out = tmp_path / "out"
    out.mkdir()
    with opened_ledger(out / "ledger.sqlite") as ledger:
        ledger.add_page([("1", {"where": "line 2", "row": {}, "fault": "", "sound": sound})], {})
        ledger.state_fact("sha256 of the table", hashlib.sha256((tmp_path / "l.csv").read_bytes()).hexdigest())
    with pytest.raises(UserError, match="has no name for a file; move it away"):
        collect(tmp_path / "l.csv", out)
