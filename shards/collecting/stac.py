"""Imagery from STAC items: the GeoTIFF of the item that covers a place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from shards.collecting.cog import is_web, provider_of, read_square
from shards.collecting.imagery import Access, ImagerySource, NoImagery, Picture
from shards.collecting.mercator import Square
from shards.collecting.sound_archive import is_within
from shards.collecting.web import Refused, Unreachable
from shards.errors import UserError
from shards.records import Finite, json_of, read_json, record_as, shortened, shown

MOST_ITEM_BYTES = 64 << 20
_GEOTIFF = "image/tiff"


@dataclass(frozen=True)
class Item:
    """What is used of a STAC item.

    Attributes:
        place: file or address of its GeoTIFF.
        bbox: west, south, east and north.
        date: its day, "" if it states none.
    """

    place: str
    bbox: tuple[float, float, float, float]
    date: str


@dataclass(frozen=True)
class _ItemRecord:
    """The members of an item that are read."""

    bbox: list[Finite]
    assets: dict[str, dict[str, Any]]
    properties: dict[str, Any] = field(default_factory=dict)
    id: Any = None


class StacSource(ImagerySource):
    """The items of a file or an address (`--stac`); of several that cover a place, the first that has data."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._address = str(access.options.stac)
        if is_web(self._address):
            try:
                value = access.web.read(
                    self._address, MOST_ITEM_BYTES, lambda answer: json_of(answer.body, "the STAC item")
                )
            except (Refused, Unreachable) as error:
                raise UserError(f"--stac {provider_of(self._address)} can't be read: {error}") from error
        else:
            value = read_json(Path(self._address), "give a STAC item or a collection of items as GeoJSON")
        features = value.get("features") if isinstance(value, dict) and "features" in value else [value]
        if not isinstance(features, list) or not features:
            raise UserError(f"--stac {provider_of(self._address)} has no items, got {shown(value)}")
        self._items = [self._item(feature) for feature in features]

    @property
    def provider(self) -> str:
        """The address without its query."""
        return provider_of(self._address)

    def num_requests(self, square: Square) -> int:  # noqa: ARG002 - about the same for all
        """A few blocks of a remote file."""
        return 3 if any(is_web(item.place) for item in self._items) else 0

    def picture(self, square: Square) -> Picture:
        """Reads the first item that covers the place and has data there."""
        square.check()
        reasons = []
        for item in self._items:
            if is_within(item.bbox, square.longitude, square.latitude):
                try:
                    return replace(read_square(self.access, item.place, square), date=item.date)
                except NoImagery as error:
                    reasons.append(str(error))
        raise NoImagery("; ".join(reasons) or "no item covers the place")

    def _item(self, feature: Any) -> Item:
        """Reads an item.

        Raises:
            UserError: it is none, or it is not clear which asset is meant.
        """
        record = record_as(_ItemRecord, feature, "--stac", "give a STAC item, or a collection of items")
        if len(record.bbox) not in (4, 6):
            raise UserError(f"--stac: the bbox of {shown(record.id)} must have 4 or 6 numbers, got {len(record.bbox)}")
        west, south, east, north = record.bbox if len(record.bbox) == 4 else (*record.bbox[:2], *record.bbox[3:5])
        name = shown(record.id)
        asset = self._asset(name, record.assets)
        date = record.properties.get("datetime") or record.properties.get("start_datetime") or ""
        return Item(self._place(name, str(asset.get("href") or "")), (west, south, east, north), str(date)[:10])

    def _asset(self, name: str, assets: dict[str, Any]) -> dict[str, Any]:
        wanted = self.access.options.asset
        if wanted:
            found = [wanted] if isinstance(assets.get(wanted), dict) else []
        else:
            tiffs = {
                key: asset for key, asset in assets.items()
                if str(asset.get("type") or "").startswith(_GEOTIFF)
            }  # fmt: skip
            visual = [key for key, asset in tiffs.items() if key == "visual" or _has_role(asset, "visual")]
            found = visual[:1] or list(tiffs)
        if len(found) != 1:
            names = shortened(", ".join(map(shown, assets)), 200)
            raise UserError(f"--stac: {name} has the assets {names}; say which with --asset NAME")
        asset: dict[str, Any] = assets[found[0]]
        return asset

    def _place(self, name: str, href: str) -> str:
        """File or address of an asset.

        Raises:
            UserError: it leads elsewhere than an item may point.
        """
        if is_web(self._address):
            address = urljoin(self._address, href)
            if href and is_web(address):
                return address
        elif is_web(href):
            return href
        elif href and not Path(href).is_absolute():
            path = _file_beside(Path(self._address), href)
            if path is not None:
                return str(path)
        raise UserError(f"--stac: {name} points to {shown(href)}, which is no web address and no file beside the item")


def _has_role(asset: dict[str, Any], role: str) -> bool:
    roles = asset.get("roles")
    return isinstance(roles, list) and role in roles


def _file_beside(item: Path, name: str) -> Path | None:
    """The file of a name in the folder of an item or below; None if there is none."""
    try:
        folder = item.resolve().parent
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return None
