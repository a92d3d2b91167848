"""Inputs that `collect` reads: answers of archives and services, and the tables and databases of a collection."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fuzz.campaign import Family
from fuzz.mutations import change_bytes, change_json, change_text
from tile_server import png, tile_picture, write_cog

from shards.collecting.aporee import AporeeArchive
from shards.collecting.archive_items import ItemArchive
from shards.collecting.archived_places import place_of_item
from shards.collecting.cleaning import clean, read_rules
from shards.collecting.collecting_sounds import LEDGER_NAME, SoundCollector
from shards.collecting.collection import EXCLUDED_NAME, Collection
from shards.collecting.imagery import Access, NoImagery
from shards.collecting.ledger import opened_ledger
from shards.collecting.mercator import Square
from shards.collecting.options import AporeeOptions
from shards.collecting.pictures import decode_picture
from shards.collecting.stac import StacSource
from shards.collecting.tile_cache import TileCache, opened_tile_cache
from shards.collecting.tiles_options import TilesOptions
from shards.collecting.web import Answer, Refused, Web, WebSettings
from shards.collecting.wmts import layer_of
from shards.errors import RejectedPair, UserError

SENTENCES = (UserError, RejectedPair, Refused, NoImagery)
T = TypeVar("T")
PLACE = Square(7.25, 48.0, 0.5, 32)


class FileWeb(Web):
    """Every address has the content of one file."""

    def __init__(self, file: Path) -> None:
        super().__init__(WebSettings(1000.0))
        self._file = file

    def read(self, url: str, most_bytes: int, parse: Callable[[Answer], T]) -> T:  # noqa: ARG002
        return parse(Answer(self._file.read_bytes()[:most_bytes], ""))


def _options(out: Path) -> AporeeOptions:
    return AporeeOptions(out=out, bbox=(-180.0, -90.0, 180.0, 90.0))


def _page(folder: Path) -> Path:
    items = [
        {"identifier": f"aporee_{n}", "coverage": "50.5,7.25,here", "item_size": 5000, "publicdate": "2020-01-01"}
        for n in range(4)
    ]
    (folder / "page.json").write_text(json.dumps({"items": items, "count": 4, "total": 9, "cursor": "abc"}))
    return folder / "page.json"


def _read_page(file: Path) -> None:
    options = _options(file.parent)
    archive = AporeeArchive(ItemArchive(FileWeb(file)), options)
    page = ItemArchive(FileWeb(file)).page("q", "", 100)
    with opened_ledger(file.parent / LEDGER_NAME) as ledger:
        ledger.add_page([(item["identifier"], item) for item in page.items], {"cursor": page.cursor})
        for entry in ledger.entries(("listed",)):
            place_of_item(entry.record)
            archive.stated_bytes(entry.record)


def _item(folder: Path) -> Path:
    files = [
        {"name": "a.mp3", "source": "original", "size": "5000", "md5": "ab" * 16, "sha1": "cd" * 20, "length": "3:05"}
    ]
    metadata = {"title": "t", "description": "<p>d</p>", "coverage": "50.5,7.25", "creator": ["a", "b"], "date": "2019"}
    (folder / "item.json").write_text(json.dumps({"files": files, "metadata": metadata, "item_size": 6000}))
    return folder / "item.json"


def _describe(file: Path) -> None:
    archive = AporeeArchive(ItemArchive(FileWeb(file)), _options(file.parent))
    sound = archive.describe("aporee_1", {"publicdate": "2020-01-01"})
    assert all(isinstance(value, str) for value in sound.row.values())
    collection = Collection(file.parent)
    collection.add([dict(sound.row)])
    collection.save()


def _ledger(folder: Path) -> Path:
    with opened_ledger(folder / LEDGER_NAME) as ledger:
        ledger.add_page([(f"aporee_{n}", {"coverage": "1,2", "item_size": 9}) for n in range(20)], {"cursor": "abc"})
        for n in range(10):
            ledger.update(f"aporee_{n}", "fetched", record={"row": {"key": f"aporee_{n}", "title": "t"}})
    return folder / LEDGER_NAME


def _read_ledger(file: Path) -> None:
    with opened_ledger(file) as ledger:
        archive = AporeeArchive(ItemArchive(FileWeb(file)), _options(file.parent))
        SoundCollector(archive, FileWeb(file), ledger, file.parent, _options(file.parent)).write_tables()
        ledger.counts()
        ledger.reasons()


def _tiles(folder: Path) -> Path:
    with opened_tile_cache(folder / "tiles.sqlite") as cache:
        for n in range(6):
            cache.put("s", f"1/{n}/0", png(tile_picture(1, n, 0, 32)))
        cache.finish("images/a.jpg", "[]", '{"image_date": "2020"}', ["ab"])
    return folder / "tiles.sqlite"


def _read_tiles(file: Path) -> None:
    with opened_tile_cache(file) as cache:
        for n in range(7):
            if (tile := cache.get("s", f"1/{n}/0")) is not None and tile.sha256:
                cache.is_placeholder("s", tile.sha256)
                decode_picture(tile.body, 32, 32)
        cache.finished("images/a.jpg")


def _excluded(folder: Path) -> Path:
    (folder / "metadata.csv").write_text("key,title\na,river\nb,town\n")
    text = "excluded_row,excluded_by,excluded_because,key,title\n1,collect clean,because,c,testsound\n2,me,x,d,y\n"
    (folder / EXCLUDED_NAME).write_text(text)
    return folder / EXCLUDED_NAME


def _save_collection(file: Path) -> None:
    collection = Collection.load(file.parent)
    clean(collection, None)
    collection = Collection.load(file.parent)
    for row in collection.rows:
        row.include()
    collection.save()


def _review(folder: Path) -> Path:
    _excluded(folder)
    (folder / "review.csv").write_text("key,decision,rule,field,text\nc,keep,/test/,title,testsound\n")
    return folder / "review.csv"


def _rules(folder: Path) -> Path:
    (folder / "rules.txt").write_text("# rules\ntest sound\n/^test\\d*$/\nfield [recording\n")
    return folder / "rules.txt"


def _capabilities(folder: Path) -> Path:
    matrices = "".join(
        f"<TileMatrix><Identifier>{z}</Identifier><ScaleDenominator>{559082264.0287178 / 2**z}</ScaleDenominator>"
        "<TopLeftCorner>-20037508.34 20037508.34</TopLeftCorner><TileWidth>256</TileWidth></TileMatrix>"
        for z in range(3)
    )
    (folder / "caps.xml").write_text(
        "<Capabilities><Contents>\n<Layer><Identifier>photos</Identifier>\n<Style><Identifier>a</Identifier></Style>\n"
        "<TileMatrixSetLink><TileMatrixSet>web</TileMatrixSet></TileMatrixSetLink>\n"
        '<ResourceURL resourceType="tile" template="https://h/{Style}/{TileMatrix}/{TileRow}/{TileCol}"/></Layer>\n'
        f"<TileMatrixSet><Identifier>web</Identifier>\n{matrices}</TileMatrixSet>\n</Contents></Capabilities>\n"
    )
    return folder / "caps.xml"


def _imagery(**words: Any) -> TilesOptions:
    return TilesOptions(**{"out": Path(), "terms": "t", "attribution": "a", "layer": "photos", **words})


def _find_layer(file: Path) -> None:
    layer_of(Answer(file.read_bytes(), ""), "https://h/caps.xml", _imagery(wmts="https://h/caps.xml"))


def _stac(folder: Path) -> Path:
    write_cog(folder / "a.tif", 7.25, 48.0, metres=60.0)
    item = {
        **{
            "type": "Feature",
            "id": "i",
            "bbox": [7.0, 47.0, 8.0, 49.0],
            "properties": {"datetime": "2021-05-04T00:00:00Z"},
        },
        "assets": {"visual": {"href": "a.tif", "type": "image/tiff", "roles": ["visual"]}},
    }
    (folder / "item.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return folder / "item.json"


def _read_stac(file: Path) -> None:
    import sqlite3

    access = Access(_imagery(stac=str(file)), FileWeb(file), TileCache(sqlite3.connect(":memory:")), "")
    StacSource(access).picture(PLACE)


def _cog(folder: Path) -> Path:
    return write_cog(folder / "a.tif", 7.25, 48.0, metres=60.0)


def _read_cog(file: Path) -> None:
    import sqlite3

    from shards.collecting.cog import CogSource

    access = Access(_imagery(cog=str(file)), FileWeb(file), TileCache(sqlite3.connect(":memory:")), "")
    CogSource(access).picture(PLACE)


def _picture(folder: Path) -> Path:
    (folder / "tile.png").write_bytes(png(np.dstack([tile_picture(3, 1, 1, 64), np.full((64, 64), 255, np.uint8)])))
    return folder / "tile.png"


def _family(name: str, write: Callable[[Path], Path], use: Callable[[Path], object], change: object) -> Family:
    return Family(name, write, use, change, SENTENCES)  # type: ignore[arg-type]


FAMILIES = [
    _family("archive's list", _page, _read_page, change_json),
    _family("archive's record", _item, _describe, change_json),
    _family("archive's record as text", _item, _describe, change_text),
    _family("ledger", _ledger, _read_ledger, change_bytes),
    _family("tile cache", _tiles, _read_tiles, change_bytes),
    _family("excluded rows", _excluded, _save_collection, change_text),
    _family("decisions of a review", _review, _save_collection, change_text),
    _family("rules", _rules, lambda file: read_rules(file), change_text),
    _family("WMTS capabilities", _capabilities, _find_layer, change_text),
    _family("STAC item", _stac, _read_stac, change_json),
    _family("GeoTIFF of a service", _cog, _read_cog, change_bytes),
    _family("picture of a service", _picture, lambda f: decode_picture(f.read_bytes(), 64, 64), change_bytes),
]
