"""Radio Aporee ::: Maps in the Internet Archive: lists the collection, and makes a row of each item's record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from shards.collecting.archive_items import CursorExpired, ItemArchive, plain_text, seconds_of
from shards.collecting.archived_places import place_of_item
from shards.collecting.ledger import Ledger
from shards.collecting.options import AporeeOptions
from shards.collecting.sound_archive import Sound, SoundArchive, check_length, check_place
from shards.collecting.web import Refused, Unreachable
from shards.errors import RejectedPair, UserError
from shards.progress import ProgressLine
from shards.sources.keys import make_key
from shards.untrusted_text import without_surrogates

PAGE_ITEMS = 1000
"""Items asked for at once; the archive takes 100 to 10,000."""

WHOLE_CORPUS = (
    "Radio Aporee ::: Maps as a whole was about 435 GB and 3,500 hours in June 2020 (SoundingEarth, arXiv 2108.00688)"
)
_DONE, _CURSOR, _QUERY, _TOTAL = "list is complete", "cursor", "query", "total"


class AporeeArchive(SoundArchive):
    """The collection in the archive.

    Args:
        archive: the archive's interfaces.
        options: which items are wanted.
    """

    name = "aporee"
    requests_per_sound = 3  # the record, the download, and where that is redirected to

    def __init__(self, archive: ItemArchive, options: AporeeOptions) -> None:
        self._archive = archive
        self._options = options

    @property
    def query(self) -> str:
        """What the archive is searched for."""
        since = f" AND publicdate:[{self._options.since} TO 9999-12-31]" if self._options.since else ""
        return f"collection:{self._options.collection}{since}"

    def list_entries(self, ledger: Ledger) -> None:
        """Lists by cursor; an expired cursor restarts the list, and known items are skipped."""
        if self._options.refresh or ledger.fact(_QUERY) != self.query:
            ledger.add_page([], {_QUERY: self.query, _CURSOR: "", _DONE: "", _TOTAL: ""})
        is_renewed = False
        total = int(ledger.fact(_TOTAL) or 0)
        with ProgressLine("listing items", total, done=ledger.num_entries()) as progress:
            while not ledger.fact(_DONE) and not self._has_enough(ledger):
                try:
                    page = self._archive.page(self.query, ledger.fact(_CURSOR), self._page_items)
                except CursorExpired as error:
                    if is_renewed:
                        raise UserError(f"the archive refuses its own cursor ({error}); try again later") from error
                    is_renewed = True
                    ledger.state_fact(_CURSOR, "")
                    continue
                except (Refused, Unreachable) as error:
                    raise UserError(
                        f"the archive can't be listed: {error}; run the command again, it resumes"
                    ) from error
                progress.total = page.total or progress.total
                facts = {_CURSOR: page.cursor, _DONE: "" if page.cursor else "yes", _TOTAL: str(page.total or "")}
                added = ledger.add_page([(item["identifier"], item) for item in page.items], facts)
                progress.advance(added)
                if page.num_invalid:
                    progress.write(f"{page.num_invalid} items of a page have no valid identifier and were left out")

    @property
    def _page_items(self) -> int:
        return max(100, min(PAGE_ITEMS, self._options.limit or PAGE_ITEMS))

    def _has_enough(self, ledger: Ledger) -> bool:
        return self._options.limit is not None and ledger.num_entries() >= self._options.limit

    def stated_bytes(self, record: Mapping[str, Any]) -> int | None:
        """The size of an item, which includes what the archive has derived from the sound."""
        size = str(record.get("item_size") or "")
        return int(size) if size.isdecimal() and len(size) < 16 else None

    def describe(self, identifier: str, record: Mapping[str, Any]) -> Sound:
        """Asks for the item's record, unless the list shows that it is not wanted."""
        options = self._options
        if str(record.get("publicdate") or "9999")[:10] < options.since:
            raise RejectedPair("published earlier", f"{identifier}: {record['publicdate']}, --since {options.since}")
        listed_place = place_of_item(record)
        if listed_place is not None:
            check_place(listed_place, options, identifier)
        whole = self._archive.record(identifier)
        fields = whole["metadata"]
        longitude, latitude = check_place(place_of_item(fields) or listed_place, options, identifier)
        largest = round(options.max_file_mb * 1e6)
        file, entry = self._archive.sound_file(identifier, whole, largest)
        seconds = seconds_of(entry)
        check_length(seconds, options, identifier)
        name = without_surrogates(str(entry["name"]))
        row = {
            "key": make_key(identifier),
            "long_key": identifier,
            "longitude": repr(longitude),
            "latitude": repr(latitude),
            "title": plain_text(fields.get("title")),
            "description": plain_text(fields.get("description")),
            "creator": plain_text(fields.get("creator")),
            "licence": plain_text(fields.get("licenseurl") or fields.get("rights")),
            "date_recorded": plain_text(fields.get("date")),
            "date_uploaded": plain_text(fields.get("publicdate")),
            "seconds": "" if seconds is None else f"{seconds:g}",
            "original_name": name,
            "page": self._archive.url_of_item(identifier),
        }
        return Sound(file, PurePosixPath(name).suffix.lower(), row)
