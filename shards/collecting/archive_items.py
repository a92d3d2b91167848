"""The Internet Archive's interfaces: pages of a search by cursor, and the record of an item with its files."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from shards.collecting.archived_places import texts_of
from shards.collecting.remote_files import RemoteFile, checksums_of
from shards.collecting.web import Answer, Refused, Web
from shards.data_files import SOUND_SUFFIXES
from shards.errors import RejectedPair
from shards.records import DamagedRecord, json_of, shown
from shards.untrusted_text import without_surrogates

BASE_URL = "https://archive.org"
LISTED_FIELDS = ("identifier", "title", "creator", "date", "publicdate", "licenseurl", "coverage", "item_size")
MOST_PAGE_BYTES, MOST_RECORD_BYTES = 64 << 20, 16 << 20
MOST_DESCRIPTION = 4000
"""Letters of a description that are kept."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Page:
    """A page of a search.

    Attributes:
        items: the listed fields of each item; those without a valid identifier are left out.
        num_invalid: how many those are.
        cursor: where the next page begins, "" after the last.
        total: how many items the archive says that there are, None if it says nothing.
    """

    items: tuple[dict[str, Any], ...]
    num_invalid: int
    cursor: str
    total: int | None


class CursorExpired(Exception):
    """The archive does not know a cursor any more."""


class ItemArchive:
    """Asks the Internet Archive.

    Args:
        web: the client.
        base_url: address of the archive.
    """

    def __init__(self, web: Web, base_url: str = BASE_URL) -> None:
        self._web = web
        self._base_url = base_url.rstrip("/")

    def page(self, query: str, cursor: str, count: int) -> Page:
        """A page of a search (`/services/search/v1/scrape`).

        Args:
            query: in the archive's query language.
            cursor: of the page before, "" for the first.
            count: of items wanted, at least 100, at most 10,000.

        Raises:
            CursorExpired: the archive refuses the cursor.
            Refused, Unreachable, UserError: as `Web.read`.
        """
        words = {"q": query, "fields": ",".join(LISTED_FIELDS), "count": str(count)}
        url = f"{self._base_url}/services/search/v1/scrape?{urlencode(words | ({'cursor': cursor} if cursor else {}))}"
        try:
            return self._web.read(url, MOST_PAGE_BYTES, _parse_page)
        except Refused as error:
            if cursor and error.status == 400:
                raise CursorExpired(str(error)) from error
            raise

    def record(self, identifier: str) -> dict[str, Any]:
        """The record of an item (`/metadata/IDENTIFIER`): its fields under "metadata", its files under "files".

        Raises:
            RejectedPair: the archive has no such item, or does not show it.
            Refused, Unreachable, UserError: as `Web.read`.
        """
        record = self._web.read(f"{self._base_url}/metadata/{quote(identifier)}", MOST_RECORD_BYTES, _parse_record)
        if not record:  # that is how the archive answers for what it does not have
            raise RejectedPair("item is gone", f"{identifier}: the archive has no record of it")
        if record.get("is_dark"):
            raise RejectedPair("item is gone", f"{identifier}: withdrawn from the archive")
        return record

    def sound_file(
        self, identifier: str, record: Mapping[str, Any], largest: int
    ) -> tuple[RemoteFile, Mapping[str, Any]]:
        """The sound of an item, and its entry in the record: the largest original, else the largest derived file.

        Raises:
            RejectedPair: there is none, or it is too large.
        """
        files = [file for file in record.get("files") or () if isinstance(file, dict) and _is_sound(file)]
        if not files:
            raise RejectedPair("no sound file", f"{identifier}: none of its files is a public sound")
        best = max(files, key=lambda file: (file.get("source") == "original", _size(file) or 0))
        size, name = _size(best), without_surrogates(str(best["name"]))
        if size is not None and size > largest:
            raise RejectedPair("file too large", f"{identifier}: {name} has {size:,} bytes; see --max-file-mb")
        url = f"{self._base_url}/download/{quote(identifier)}/{quote(name)}"
        return RemoteFile(url, size, largest, checksums_of(best)), best

    def url_of_item(self, identifier: str) -> str:
        """The address of the page on an item, for people."""
        return f"{self._base_url}/details/{quote(identifier)}"


def plain_text(value: Any) -> str:
    """The text of a field on one line, without HTML."""
    text = "; ".join(texts_of(value))
    return " ".join(html.unescape(re.sub(r"<[^<>]{0,1000}>", " ", text)).split())[:MOST_DESCRIPTION]


def seconds_of(file: Mapping[str, Any]) -> float | None:
    """The length of a file as its entry states it: seconds, or minutes and seconds with colons."""
    text = str(file.get("length") or "")
    if not re.fullmatch(r"\d{1,6}(:\d{1,2}){0,2}(\.\d+)?", text):
        return None
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _parse_page(answer: Answer) -> Page:
    value = json_of(answer.body, "the archive's list")
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        raise DamagedRecord(f"the archive's list has no items, got {shown(value)}")
    items = [item for item in value["items"] if isinstance(item, dict) and _is_identifier(item.get("identifier"))]
    cursor, total = str(value.get("cursor") or ""), value.get("total")
    if not cursor.isascii():
        raise DamagedRecord(f"the archive's list has no cursor of ASCII letters, got {shown(cursor)}")
    return Page(
        tuple(items),
        len(value["items"]) - len(items),
        cursor,
        total if isinstance(total, int) else None,
    )


def _parse_record(answer: Answer) -> dict[str, Any]:
    value = json_of(answer.body, "the archive's record")
    if not isinstance(value, dict) or (value and not isinstance(value.get("files", []), list)):
        raise DamagedRecord(f"the archive's record is none, got {shown(value)}")
    if value and not value.get("is_dark") and not isinstance(value.get("metadata"), dict):
        raise DamagedRecord("the archive's record has no metadata")
    return value


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_sound(file: Mapping[str, Any]) -> bool:
    name = str(file.get("name") or "")
    return name.lower().endswith(SOUND_SUFFIXES) and str(file.get("private")).lower() != "true"


def _size(file: Mapping[str, Any]) -> int | None:
    text = str(file.get("size") or "")
    return int(text) if re.fullmatch(r"\d{1,15}", text) else None
