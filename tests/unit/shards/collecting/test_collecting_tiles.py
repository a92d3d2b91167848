"""Images for the places of a collection: scales, provenance, places without imagery, and placeholders found late."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tile_server import TileServer, png, serve_tiles, tile_picture, write_cog

from shards.collecting.collecting_tiles import TileCollector
from shards.collecting.commands import run_tiles
from shards.collecting.tiles_options import TilesOptions
from shards.errors import UserError
from shards.sources.recordings import RecordingsSource
from shards.sources.source import SourceOptions

PLACES = {"a": (7.25, 48.0), "b": (7.35, 48.1), "c": (7.45, 48.2)}


@pytest.fixture
def server() -> Iterator[TileServer]:
    with serve_tiles() as tiles:
        yield tiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lines = [f"{key},{longitude},{latitude},{key}.wav" for key, (longitude, latitude) in PLACES.items()]
    (tmp_path / "metadata.csv").write_text("key,longitude,latitude,mp3name\n" + "\n".join(lines) + "\n")
    (tmp_path / "audio").mkdir()
    for key in PLACES:
        (tmp_path / "audio" / f"{key}.wav").write_bytes(b"x")
    return tmp_path


def collect(root: Path, server: TileServer | None = None, **words: Any) -> None:
    given = {
        "out": root,
        "terms": "https://t",
        "attribution": "A",
        "rate": 1000.0,
        "side": 64,
        "attempts": 2,
        "backoff": 0.01,
    }
    source = {"xyz": f"{server.url}/{{z}}/{{x}}/{{y}}.png"} if server is not None else {}
    options = TilesOptions(**{**given, **source, **words})
    options.check()
    run_tiles(options)


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def test_each_place_has_its_image_and_its_provenance(root: Path, server: TileServer) -> None:
    collect(root, server, date="2020", scales=(1, 3))
    rows = rows_of(root / "metadata.csv")
    for key, row in rows.items():
        assert Image.open(root / "images" / f"{key}.jpg").size == (64, 64)
        assert (row["image_terms"], row["image_attribution"], row["image_date"]) == ("https://t", "A", "2020")
        assert row["image_provider"] == f"{server.url}/{{z}}/{{x}}/{{y}}.png"
        assert (row["image_metres_per_pixel"], row["image_zoom"]) == ("0.2", "19")
        assert row["image_x3"] == f"images_x3/{key}.jpg"
        assert (root / row["image_x3"]).is_file()
    assert len(RecordingsSource(SourceOptions(root)).list_pairs().pairs) == 3
    wide = RecordingsSource(SourceOptions(root, columns={"image": "image_x3"})).list_pairs()
    assert {pair.image.parent.name for pair in wide.pairs} == {"images_x3"}


def test_zoom_levels_set_the_extent(root: Path, server: TileServer) -> None:
    collect(root, server, zoom=17)
    assert rows_of(root / "metadata.csv")["a"]["image_metres_per_pixel"] == "0.7992"  # 156,543.03 cos 48° / 2^17


def test_a_second_run_asks_for_nothing(root: Path, server: TileServer, capsys: pytest.CaptureFixture[str]) -> None:
    collect(root, server)
    table, asked = (root / "metadata.csv").read_bytes(), len(server.paths)
    collect(root, server)
    assert (len(server.paths), (root / "metadata.csv").read_bytes()) == (asked, table)
    assert "0 images made, 3 were there" in capsys.readouterr().out


def test_places_without_imagery_leave_the_table_until_there_is_some(root: Path, server: TileServer) -> None:
    def only_some(zoom: int, x: int, y: int) -> bytes | int:
        longitude = (x + 0.5) / 2**zoom * 360 - 180
        return 404 if 7.3 < longitude < 7.4 else png(tile_picture(zoom, x, y))

    server.tile = only_some
    collect(root, server)
    assert list(rows_of(root / "metadata.csv")) == ["a", "c"]
    assert rows_of(root / "excluded.csv")["b"]["excluded_by"] == "collect tiles"
    with (root / "rejected-tiles.csv").open() as file:
        assert next(csv.DictReader(file))["reason"] == "no imagery"
    asked = len(server.paths)
    collect(root, server)  # answers that there is no tile are remembered
    assert len(server.paths) == asked
    server.tile = None
    collect(root, xyz=f"{server.url}/L{{z}}/{{x}}/{{y}}.png")
    assert list(rows_of(root / "metadata.csv")) == ["a", "b", "c"]


def test_places_without_imagery_stay_out_of_the_table_of_an_interrupted_run(
    root: Path, server: TileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.tile = lambda zoom, x, y: 404
    collect(root, server)
    assert list(rows_of(root / "metadata.csv")) == []
    real, made = TileCollector._write, []

    def interrupted(self: TileCollector, row: Any, *rest: Any) -> None:
        if made:
            raise KeyboardInterrupt
        made.append(row)
        real(self, row, *rest)

    monkeypatch.setattr(TileCollector, "_write", interrupted)
    server.tile = None
    with pytest.raises(KeyboardInterrupt):
        collect(root, xyz=f"{server.url}/L{{z}}/{{x}}/{{y}}.png")
    assert list(rows_of(root / "metadata.csv")) == ["a"]
    assert list(rows_of(root / "excluded.csv")) == ["b", "c"]


def test_a_placeholder_that_is_known_late_is_replaced(root: Path, server: TileServer) -> None:
    """Its first appearances are taken for imagery: at places with one such tile, until it has come four times."""
    with (root / "metadata.csv").open("a") as file:
        file.write("d,7.55,48.3,a.wav\n")
    words = png(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8))
    seen: list[tuple[int, int]] = []

    def tile(zoom: int, x: int, y: int) -> bytes:
        if zoom == 19 and (x, y) not in seen:
            seen.append((x, y))
        return words if zoom == 19 else png(tile_picture(zoom, x, y))

    server.tile = tile
    collect(root, server, side=16)
    rows = rows_of(root / "metadata.csv")
    assert len(seen) == 4
    assert {row["image_zoom"] for row in rows.values()} == {"18"}
    assert len(server.paths) == len(set(server.paths))


def test_images_from_elsewhere_stay_unless_they_are_to_be_replaced(root: Path, server: TileServer) -> None:
    (root / "images").mkdir()
    (root / "images" / "a.jpg").write_bytes(b"mine")
    collect(root, server)
    assert (root / "images" / "a.jpg").read_bytes() == b"mine"
    assert rows_of(root / "metadata.csv")["a"]["image_provider"] == ""
    collect(root, server, overwrite=True)
    assert (root / "images" / "a.jpg").read_bytes() != b"mine"


def test_a_service_that_refuses_everything_ends_the_command(root: Path, server: TileServer) -> None:
    lines = "".join(f"d{number},{8 + number},48,a.wav\n" for number in range(5))
    (root / "metadata.csv").write_text((root / "metadata.csv").read_text() + lines)
    server.key = "right"
    with pytest.raises(UserError, match=r"5 places in a row were refused by the service, .*; check --key"):
        collect(root, xyz=f"{server.url}/{{z}}/{{x}}/{{y}}.png?key={{key}}", key="wrong")
    collect(root, xyz=f"{server.url}/{{z}}/{{x}}/{{y}}.png?key={{key}}", key="right")
    assert len(rows_of(root / "metadata.csv")) == 8


def test_rasters_of_more_than_8_bits_are_kept_for_the_build(root: Path) -> None:
    path = write_cog(root / "map.tif", 7.25, 48.0, dtype="uint16", factor=40)
    collect(root, cog=str(path), metres_per_pixel=0.5)
    assert list(rows_of(root / "metadata.csv")) == ["a"]
    assert rows_of(root / "metadata.csv")["a"]["image_date"] == "2019-07-01"
    from shards.decoding.imagery import read_place

    assert read_place(root / "images" / "a.tif") == pytest.approx(PLACES["a"], abs=1e-5)


def test_places_that_can_not_be_read_have_a_reason(
    root: Path, server: TileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "metadata.csv").write_text("key,longitude,latitude,mp3name\na,7.25,48,a.wav\nb,x,48,b.wav\nc,7,88,c.wav\n")
    collect(root, server)
    estimate = re.search(r"at least (\S+) requests", capsys.readouterr().err)
    assert estimate is not None
    assert 0 < int(estimate[1]) <= 3 * len(server.paths)  # of three places, two of which take none
    reasons = {key: row["excluded_because"].partition(":")[0] for key, row in rows_of(root / "excluded.csv").items()}
    assert reasons == {"b": "unreadable coordinates", "c": "beyond the map"}
