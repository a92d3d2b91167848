"""Imagery of every kind from a server whose map is a formula: the image of a place is compared with that formula."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tile_server import TileServer, picture, png, serve_tiles, tile_picture, write_cog

from shards.collecting.imagery import IMAGERY, Access, ImagerySource, NoImagery, is_colourless, is_plain
from shards.collecting.mercator import Square
from shards.collecting.pictures import decode_picture
from shards.collecting.tile_cache import TileCache, opened_tile_cache
from shards.collecting.tiles_options import TilesOptions
from shards.collecting.web import Refused, Web, WebSettings
from shards.errors import RejectedPair, UserError
from shards.streaming.fetching import RetryRule

PLACES = [(7.25, 48.0), (-70.6, -33.4), (0.0, 0.0), (25.0, 70.5)]


@pytest.fixture
def server() -> Iterator[TileServer]:
    with serve_tiles() as tiles:
        yield tiles


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[TileCache]:
    with opened_tile_cache(tmp_path / "tiles.sqlite") as opened:
        yield opened


def source_of(cache: TileCache, key: str = "", **words: Any) -> ImagerySource:
    options = TilesOptions(**{"out": Path(), "terms": "t", "attribution": "a", "rate": 1000.0, "side": 64, **words})
    options.check()
    web = Web(WebSettings(options.rate, retry=RetryRule(2, 0.01, 0.02), secrets=(key,) if key else ()))
    name = next(name for name in IMAGERY if getattr(options, name))
    return IMAGERY.load(name)(Access(options, web, cache, key))


def difference(pixels: Any, square: Square) -> float:
    """Mean difference from the map, in grey levels."""
    expected = picture(*square.bounds, square.side, square.side).astype(float)
    return float(np.abs(pixels.astype(float) - expected).mean())


def xyz(server: TileServer) -> str:
    return f"{server.url}/{{z}}/{{x}}/{{y}}.png"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("metres", [0.2, 0.5, 1.0])
def test_tiles_become_a_square_exactly_around_its_place(
    server: TileServer, cache: TileCache, place: tuple[float, float], metres: float
) -> None:
    square = Square(*place, metres, 64)
    found = source_of(cache, xyz=xyz(server)).picture(square)
    assert difference(found.pixels, square) < 1.0
    # A pixel beside it is worse: the waves are 400 m long, so this needs the larger steps.
    if metres == 1.0:
        shifted = np.roll(found.pixels, 1, axis=1)
        assert difference(shifted, square) > 1.5 * difference(found.pixels, square)
    assert found.native_metres is not None
    assert found.native_metres <= 1.02 * metres or found.zoom == 19


def test_tiles_are_asked_for_once(server: TileServer, cache: TileCache) -> None:
    source = source_of(cache, xyz=xyz(server))
    for shift in (0.0, 0.0, 1e-6):
        source.picture(Square(7.25 + shift, 48.0, 0.2, 64))
    assert len(server.paths) == len(set(server.paths)) == source.num_requests(Square(7.25, 48.0, 0.2, 64))


def test_a_square_across_the_antimeridian_is_seamless(server: TileServer, cache: TileCache) -> None:
    for longitude in (180.0, -180.0):
        square = Square(longitude, -17.0, 2.0, 64)
        assert difference(source_of(cache, xyz=xyz(server)).picture(square).pixels, square) < 2.0


def test_places_beyond_the_map_are_rejected(server: TileServer, cache: TileCache) -> None:
    with pytest.raises(RejectedPair, match="beyond the map"):
        source_of(cache, xyz=xyz(server)).picture(Square(0.0, 86.0, 0.2, 64))
    assert server.paths == []


@pytest.mark.parametrize(
    ("template", "path"),
    [("{z}/{x}/{y}", "/3/4/2"), ("{z}/{x}/{-y}", "/3/4/5"), ("q{q}.png?key={key}", "/q120.png?key=a%2Fb")],
)
def test_templates_are_filled_in(server: TileServer, cache: TileCache, template: str, path: str) -> None:
    source = source_of(cache, key="a/b", xyz=f"{server.url}/{template}")
    assert source.address(3, 4, 2) == server.url + path  # type: ignore[attr-defined]
    assert source.provider == f"{server.url}/{template}".partition("?")[0]


@pytest.mark.parametrize(
    "blank",
    [404, 204, 410, b"", png(np.full((256, 256, 3), 255, np.uint8)), png(np.full((256, 256, 3), 128, np.uint8)),
     png(np.zeros((256, 256, 4), np.uint8))],
    ids=["404", "204", "410", "empty", "white", "grey", "transparent"],
)  # fmt: skip
def test_the_best_level_that_has_data_is_taken(server: TileServer, cache: TileCache, blank: bytes | int) -> None:
    server.tile = lambda zoom, x, y: blank if zoom > 17 else png(tile_picture(zoom, x, y))
    square = Square(7.25, 48.0, 0.2, 64)
    found = source_of(cache, xyz=xyz(server)).picture(square)
    assert found.zoom == 17
    assert difference(found.pixels, square) < 2.0
    with pytest.raises(NoImagery, match=r"zoom 19: .*; zoom 18: "):
        source_of(cache, xyz=xyz(server), coarser=1).picture(square)


def test_a_level_with_one_blank_tile_is_left(server: TileServer, cache: TileCache) -> None:
    grey = png(np.full((256, 256, 3), 200, np.uint8))
    server.tile = lambda zoom, x, y: grey if zoom == 19 and x % 3 == 0 else png(tile_picture(zoom, x, y))
    found = source_of(cache, xyz=xyz(server), side=1024).picture(Square(7.25, 48.0, 0.2, 1024))
    assert found.zoom == 18


def test_a_repeated_picture_is_a_placeholder(server: TileServer, cache: TileCache) -> None:
    words = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    server.tile = lambda zoom, x, y: png(words)
    source = source_of(cache, xyz=xyz(server), side=1024)
    with pytest.raises(NoImagery, match="zoom 19: placeholder; zoom 18: placeholder"):
        source.picture(Square(7.25, 48.0, 0.2, 1024))


def test_a_named_placeholder_is_known_at_once(server: TileServer, tmp_path: Path) -> None:
    import hashlib

    words = png(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8))
    server.tile = lambda zoom, x, y: words
    with opened_tile_cache(tmp_path / "c.sqlite", [hashlib.sha256(words).hexdigest()]) as cache:
        with pytest.raises(NoImagery, match="placeholder"):
            source_of(cache, xyz=xyz(server), coarser=0).picture(Square(7.25, 48.0, 0.2, 64))
        assert len(server.paths) == 1


def test_sea_of_one_colour_beside_a_coast_is_no_blank(server: TileServer, cache: TileCache) -> None:
    sea = png(np.broadcast_to(np.array([20, 60, 110], np.uint8), (256, 256, 3)).copy())
    server.tile = lambda zoom, x, y: sea if x % 2 else png(tile_picture(zoom, x, y))
    source = source_of(cache, xyz=xyz(server), side=1024)
    assert source.picture(Square(7.25, 48.0, 0.2, 1024)).zoom == 19
    server.tile = lambda zoom, x, y: sea
    with pytest.raises(NoImagery, match="one colour"):
        source.picture(Square(9.25, 48.0, 0.2, 1024))


def test_a_page_instead_of_a_tile_is_named(server: TileServer, cache: TileCache) -> None:
    server.tile = lambda zoom, x, y: b"<html>please log in</html>"
    with pytest.raises(RejectedPair, match=r"unusable picture: .*<html>please"):
        source_of(cache, xyz=xyz(server)).picture(Square(7.25, 48.0, 0.2, 64))


def test_tiles_of_another_size_are_named(server: TileServer, cache: TileCache) -> None:
    with pytest.raises(RejectedPair, match="256 × 256 pixels instead of 512 × 512"):
        source_of(cache, xyz=xyz(server), tile_size=512).picture(Square(7.25, 48.0, 0.2, 64))


def test_tiles_of_512_pixels(server: TileServer, cache: TileCache) -> None:
    server.tile_size = 512
    square = Square(7.25, 48.0, 0.2, 64)
    found = source_of(cache, xyz=xyz(server), tile_size=512).picture(square)
    assert found.zoom == 18
    assert difference(found.pixels, square) < 1.0


def test_a_service_that_refuses_the_key(server: TileServer, cache: TileCache) -> None:
    server.key = "right"
    with pytest.raises(Refused, match="HTTP 403"):
        source_of(cache, key="wrong", xyz=f"{xyz(server)}?key={{key}}").picture(Square(7.25, 48.0, 0.2, 64))
    assert (
        source_of(cache, key="right", xyz=f"{xyz(server)}?key={{key}}").picture(Square(7.25, 48.0, 0.2, 64)).zoom == 19
    )


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "CRS:84"])
def test_wms_in_both_axis_orders(server: TileServer, cache: TileCache, version: str, crs: str) -> None:
    for place in PLACES:
        square = Square(*place, 1.0, 64)
        source = source_of(
            cache, wms=f"{server.url}/ows?map=a", layer="photos", wms_version=version, crs=crs, format="image/png"
        )
        assert difference(source.picture(square).pixels, square) < 1.5
    assert all("map=a" in path for path in server.paths)


def test_wms_reports_are_read(server: TileServer, cache: TileCache) -> None:
    source = source_of(cache, wms=f"{server.url}/ows", layer="none")
    with pytest.raises(Refused, match="the service reports: no such layer"):
        source.picture(Square(7.25, 48.0, 0.2, 64))
    with pytest.raises(RejectedPair, match="crosses the antimeridian"):
        source.picture(Square(180.0, 0.0, 0.2, 64))
    with pytest.raises(UserError, match="--crs EPSG:1 is unknown"):
        source_of(cache, wms=f"{server.url}/ows", layer="none", crs="EPSG:1")


def capabilities(server: TileServer, *, tile: bool = True, top: str = "-20037508.3427892 20037508.3427892") -> bytes:
    levels = "".join(
        f"<TileMatrix><ows:Identifier>L{zoom}</ows:Identifier><ScaleDenominator>{559082264.0287178 / 2**zoom}"
        f"</ScaleDenominator><TopLeftCorner>{top}</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>"
        f"<MatrixWidth>{2**zoom}</MatrixWidth><MatrixHeight>{2**zoom}</MatrixHeight></TileMatrix>"
        for zoom in range(19)
    )
    template = f"{server.url}/wmts/{{Style}}/{{Time}}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.png"
    resource = f'<ResourceURL format="image/png" resourceType="tile" template="{template}"/>'
    return f"""<?xml version="1.0"?>
    <Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
    xmlns:xlink="http://www.w3.org/1999/xlink"><ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP>
    <ows:Get xlink:href="{server.url}/kvp?"/></ows:HTTP></ows:DCP></ows:Operation></ows:OperationsMetadata><Contents>
    <Layer><ows:Identifier>other</ows:Identifier></Layer>
    <Layer><ows:Identifier>photos</ows:Identifier><Style isDefault="true"><ows:Identifier>plain</ows:Identifier></Style>
    <Dimension><ows:Identifier>Time</ows:Identifier><Default>2020</Default></Dimension>
    <TileMatrixSetLink><TileMatrixSet>local</TileMatrixSet></TileMatrixSetLink>
    <TileMatrixSetLink><TileMatrixSet>web</TileMatrixSet></TileMatrixSetLink>{resource if tile else ""}</Layer>
    <TileMatrixSet><ows:Identifier>local</ows:Identifier><TileMatrix><ows:Identifier>0</ows:Identifier>
    <ScaleDenominator>1000</ScaleDenominator><TopLeftCorner>5 6</TopLeftCorner><TileWidth>256</TileWidth></TileMatrix>
    </TileMatrixSet>
    <TileMatrixSet><ows:Identifier>web</ows:Identifier>{levels}</TileMatrixSet></Contents></Capabilities>""".encode()


@pytest.mark.parametrize("has_template", [True, False])
def test_wmts_from_capabilities(server: TileServer, cache: TileCache, has_template: bool) -> None:
    server.files["/caps.xml"] = capabilities(server, tile=has_template)
    if not has_template:  # GetTile by key-value pairs calls its levels by their names
        server.files["/caps.xml"] = capabilities(server, tile=False).replace(b">L", b">web:")
    square = Square(7.25, 48.0, 0.2, 64)
    found = source_of(cache, wmts=f"{server.url}/caps.xml", layer="photos").picture(square)
    assert (found.zoom, difference(found.pixels, square) < 1.5) == (18, True)  # the capabilities end at 18
    expected = "/wmts/plain/2020/web/L18/" if has_template else "TILEMATRIXSET=web&TILEMATRIX=web:18"
    assert expected in server.paths[-1]


def test_wmts_by_template_and_by_words(server: TileServer, cache: TileCache) -> None:
    square = Square(7.25, 48.0, 0.2, 64)
    template = f"{server.url}/{{Style}}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileCol}}/{{TileRow}}"
    assert difference(source_of(cache, wmts=template).picture(square).pixels, square) < 1.0
    assert "/default/GoogleMapsCompatible/19/" in server.paths[0]
    found = source_of(cache, wmts=f"{server.url}/wmts?map=a", layer="photos").picture(square)
    assert difference(found.pixels, square) < 1.0
    assert "map=a&SERVICE=WMTS&REQUEST=GetTile" in server.paths[-1]


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"<!DOCTYPE a><a/>", "declares a document type"),
        (b"<a>", "can't be read as XML"),
        (b"<Capabilities/>", "--layer 'photos': the service has no such layer"),
        (None, "none of its matrix sets .local, web. is web mercator"),
    ],
)
def test_capabilities_that_do_not_help(server: TileServer, cache: TileCache, body: bytes | None, match: str) -> None:
    server.files["/caps.xml"] = body or capabilities(server, top="0 0")
    with pytest.raises(UserError, match=match):
        source_of(cache, wmts=f"{server.url}/caps.xml", layer="photos")


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_cog_is_read_where_it_is(server: TileServer, cache: TileCache, tmp_path: Path, is_remote: bool) -> None:
    path = write_cog(tmp_path / "a.tif", 7.25, 48.0)
    server.files["/a.tif"] = path.read_bytes()
    source = source_of(cache, cog=f"{server.url}/a.tif" if is_remote else str(path))
    square = Square(7.2505, 48.0002, 0.5, 64)
    found = source.picture(square)
    assert difference(found.pixels, square) < 1.0
    assert (found.date, found.pixels.dtype) == ("2019-07-01", np.uint8)
    assert found.native_metres == pytest.approx(0.5 * np.cos(np.radians(48.0)), rel=1e-3)
    with pytest.raises(NoImagery, match="0% of the square has data"):
        source.picture(Square(9.0, 48.0, 0.5, 64))
    assert bool(server.paths) == is_remote


def test_the_key_of_a_remote_cog_is_in_no_message(server: TileServer, cache: TileCache, tmp_path: Path) -> None:
    server.files["/a.tif"] = write_cog(tmp_path / "a.tif", 7.25, 48.0).read_bytes()
    server.key = "right one"
    square = Square(7.25, 48.0, 0.5, 64)
    address = f"{server.url}/a.tif?key={{key}}"
    assert source_of(cache, key="right one", cog=address).picture(square).date == "2019-07-01"
    with pytest.raises(Refused, match=r"a\.tif can't be read") as caught:
        source_of(cache, key="wrong/one", cog=address, attempts=1).picture(square)
    assert "wrong" not in str(caught.value)
    assert any("key=wrong%2Fone" in path for path in server.paths)


def test_a_cog_of_more_than_8_bits_keeps_its_values(cache: TileCache, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "a.tif", 7.25, 48.0, dtype="uint16", factor=40)
    square = Square(7.25, 48.0, 0.5, 64)
    found = source_of(cache, cog=str(path)).picture(square)
    assert found.pixels.dtype == np.uint16
    assert difference(found.pixels / 40, square) < 1.0


def test_a_cog_that_is_none(server: TileServer, cache: TileCache, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("<VRTDataset/>")
    with pytest.raises(Refused, match=r"a.tif can't be read"):
        source_of(cache, cog=str(tmp_path / "a.tif")).picture(Square(0.0, 0.0, 0.5, 64))
    with pytest.raises(UserError, match=r"--cog none.tif: no such file"):
        source_of(cache, cog="none.tif")
    path = write_cog(tmp_path / "b.tif", 7.25, 48.0)
    with pytest.raises(UserError, match="--bands 1 2 4: the raster has 3 bands"):
        source_of(cache, cog=str(path), bands=(1, 2, 4)).picture(Square(7.25, 48.0, 0.5, 64))


def item(href: str, bbox: list[float] | None = None, **assets: Any) -> dict[str, Any]:
    assets = assets or {"visual": {"href": href, "type": "image/tiff; application=geotiff", "roles": ["visual"]}}
    properties = {"datetime": "2021-05-04T10:00:00Z"}
    return {
        "type": "Feature",
        "id": "i",
        "bbox": bbox or [7.0, 47.0, 8.0, 49.0],
        "properties": properties,
        "assets": assets,
    }


@pytest.mark.parametrize("is_remote", [False, True])
def test_stac_items(server: TileServer, cache: TileCache, tmp_path: Path, is_remote: bool) -> None:
    path = write_cog(tmp_path / "a.tif", 7.25, 48.0)
    empty = write_cog(tmp_path / "b.tif", 9.0, 48.0)
    items = {"type": "FeatureCollection", "features": [item("b.tif"), item("./a.tif"), item("c.tif", [50, 50, 51, 51])]}
    (tmp_path / "items.json").write_text(json.dumps(items))
    server.files |= {f"/s/{p.name}": p.read_bytes() for p in (path, empty, tmp_path / "items.json")}
    where = f"{server.url}/s/items.json" if is_remote else str(tmp_path / "items.json")
    if not is_remote:
        (tmp_path / "c.tif").write_bytes(b"")
    source = source_of(cache, stac=where)
    square = Square(7.25, 48.0, 0.5, 64)
    found = source.picture(square)
    assert (difference(found.pixels, square) < 1.0, found.date) == (True, "2021-05-04")
    with pytest.raises(NoImagery, match="no item covers the place"):
        source.picture(Square(20.0, 48.0, 0.5, 64))


@pytest.mark.parametrize("href", ["/etc/hostname", "../secret.tif", "file:///etc/hostname", "", "/vsizip/a.zip"])
def test_stac_items_point_nowhere_else(cache: TileCache, tmp_path: Path, href: str) -> None:
    (tmp_path / "s").mkdir()
    write_cog(tmp_path / "secret.tif", 7.25, 48.0)
    (tmp_path / "s" / "item.json").write_text(json.dumps(item(href)))
    with pytest.raises(UserError, match="no web address and no file beside the item"):
        source_of(cache, stac=str(tmp_path / "s" / "item.json"))


def test_stac_assets_are_named_where_there_are_several(cache: TileCache, tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", 7.25, 48.0)
    tiff = {"href": "a.tif", "type": "image/tiff"}
    (tmp_path / "item.json").write_text(json.dumps(item("", B4=tiff, B3=tiff)))
    with pytest.raises(UserError, match="has the assets 'B4', 'B3'; say which with --asset"):
        source_of(cache, stac=str(tmp_path / "item.json"))
    assert source_of(cache, stac=str(tmp_path / "item.json"), asset="B4").picture(Square(7.25, 48.0, 0.5, 64)).date


def test_pictures_are_judged() -> None:
    flat = np.full((8, 8, 3), 100, np.uint8)
    assert is_plain(flat)
    assert is_colourless(flat)
    flat[0, 0] = 103
    assert is_plain(flat)
    flat[0, 0] = 106
    assert not is_plain(flat)
    assert not is_colourless(np.broadcast_to(np.array([20, 60, 110], np.uint8), (8, 8, 3)))
    half = np.zeros((8, 8, 4), np.uint8)
    half[:4] = 200
    decoded = decode_picture(png(half), 8, 8)
    assert decoded is not None
    assert decoded[0, 0, 0] == 200
    assert decoded[7, 0, 0] == 0


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({}, "exactly one of --xyz"),
        ({"xyz": "https://a/{z}/{x}/{y}", "cog": "a.tif"}, "exactly one of"),
        ({"xyz": "https://a/{z}/{x}/{y}", "terms": " "}, "--terms is missing"),
        ({"xyz": "https://a/{z}/{x}/{y}", "attribution": ""}, "--attribution is missing"),
        ({"xyz": "https://a/{z}/{x}/{y}", "zoom": 3, "metres_per_pixel": 1.0}, "not both"),
        ({"xyz": "https://a/{z}/{x}/{y}", "zoom": 30}, "--zoom must be 0 to 24"),
        ({"xyz": "https://a/{z}/{x}/{y}", "metres_per_pixel": 0.0}, "--metres-per-pixel must be 0.01"),
        ({"xyz": "https://a/{z}/{x}/{y}", "scales": (1, 1)}, "--scales must be different"),
        ({"xyz": "https://a/{s}/{z}/{x}/{y}"}, "--xyz has {s}; known are"),
        ({"xyz": "https://a/{z}/{x}"}, "needs {z}, {x} and {y}"),
        ({"xyz": "https://a/{z}/{x}/{y}?k={key}"}, "--xyz has {key}; give it with --key"),
        ({"xyz": "/a/{z}/{x}/{y}"}, "--xyz must be an http or https address"),
        ({"wms": "https://a/"}, "--wms needs --layer"),
        ({"wmts": "https://a/"}, "--wmts needs --layer"),
        ({"wmts": "https://a/{TileMatrix}/{TileCol}"}, "the template lacks {tilerow}"),
    ],
)
def test_mistakes_are_one_sentence(cache: TileCache, words: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        source_of(cache, **words)
