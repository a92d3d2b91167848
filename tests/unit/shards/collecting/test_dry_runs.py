"""Dry runs of `collect`: what an earlier run has fetched is counted, mistakes are found, and no server is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_server import ArchiveServer, serve_archive

from shards.collecting.advance.dry_run import dry_run_advance
from shards.collecting.advance.options import AdvanceOptions
from shards.collecting.commands import run_sounds
from shards.collecting.dry_runs import dry_run_aporee, dry_run_sounds, dry_run_tiles
from shards.collecting.ledger import ledger_in_memory
from shards.collecting.options import AporeeOptions, SoundTableOptions
from shards.collecting.tiles_options import TilesOptions
from shards.errors import UserError
from shards.exporting.dry_run import dry_run_export
from shards.exporting.options import ExportOptions


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with serve_archive() as archive:
        archive.add("a", {"1.wav": b"one", "2.ogg": b"two"})
        yield archive


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_what_is_there_is_counted_and_no_server_is_asked(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "list.csv", tmp_path / "out"
    at = f"{server.url}/0/items/a"
    table.write_text(f"key,url,longitude,latitude\na,{at}/1.wav,7,50\nb,{at}/2.ogg,7,95\n")
    words: dict[str, Any] = {"table": table, "out": out, "rate": 1000.0, "backoff": 0.01, "attempts": 2}
    run_sounds(SoundTableOptions(**words))
    with table.open("a") as file:
        file.write(f"c,{at}/2.ogg,7,50\nd,{at}/2.ogg,7,51\n")
    before, asked = tree(tmp_path), list(server.requests)
    capsys.readouterr()
    dry_run_sounds(SoundTableOptions(**words))
    lines = capsys.readouterr().out
    assert "1 fetched" in lines
    assert "2 sounds, of unknown size, at least 2 requests" in lines
    with pytest.raises(UserError, match=r"holds a collection by `collect sounds`; give another --out"):
        dry_run_aporee(AporeeOptions(out=out, base_url=server.url))
    dry_run_aporee(AporeeOptions(out=tmp_path / "new", base_url=server.url))
    assert "about 435 GB" in capsys.readouterr().out
    assert tree(tmp_path) == before
    assert server.requests == asked


def test_a_copy_of_a_ledger_leaves_the_file(tmp_path: Path) -> None:
    with ledger_in_memory(tmp_path / "none.sqlite") as ledger:
        ledger.state_fact("source", "sounds")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="damaged"), ledger_in_memory(tmp_path / "ledger.sqlite"):
        pass


def test_mistakes_are_found(tmp_path: Path, tiny_shards: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out .*file/out can't be written"):
        dry_run_aporee(AporeeOptions(out=tmp_path / "file" / "out"))
    with pytest.raises(UserError, match=r"has no metadata\.csv"):
        dry_run_tiles(TilesOptions(out=tmp_path, xyz="https://t.invalid/{z}/{x}/{y}", terms="t", attribution="a"))
    (tmp_path / "metadata.csv").write_text("key,longitude,latitude\na,7,50\n")
    with pytest.raises(UserError, match=r"--xyz has \{s\}"):
        dry_run_tiles(TilesOptions(out=tmp_path, xyz="https://{s}.invalid/{z}", terms="t", attribution="a"))
    (tmp_path / "corrections.csv").write_text("key,label\na,beach\n")
    with pytest.raises(UserError, match="holds other files"):
        dry_run_advance(AdvanceOptions(root=tmp_path, out=tmp_path, corrections=tmp_path / "corrections.csv"))
    with pytest.raises(UserError, match="is not empty and is no export"):
        dry_run_export(ExportOptions(shards=tiny_shards, out=tmp_path))
