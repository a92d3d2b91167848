"""Fetches the sounds of an archive into a collection, each once, and accounts for every entry of the list."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from shards.collecting.collection import Collection, write_rejected
from shards.collecting.downloading import download, part_bytes
from shards.collecting.estimate import confirm, shown_bytes
from shards.collecting.ledger import FETCHED, LISTED, POSTPONED, REJECTED, Entry, Ledger
from shards.collecting.options import SoundLimits
from shards.collecting.remote_files import HEX_DIGITS, RemoteFile, WrongContent
from shards.collecting.sound_archive import Sound, SoundArchive
from shards.collecting.web import Refused, Unreachable, Web
from shards.data_files import SOUND_SUFFIXES
from shards.errors import RejectedPair, UserError
from shards.progress import ProgressLine
from shards.records import Count, record_as, shortened
from shards.schema import Rejection, is_valid_key

LEDGER_NAME = "ledger.sqlite"
REJECTED_NAME = "rejected-sounds.csv"
SOUNDS = "audio"
UNREACHABLE_IN_A_ROW = 5
"""Unreachable entries in a row after which the network or the server counts as down."""

_OPTIONAL_REASONS = ("outside the box", "too short", "file too large", "published earlier")
"""Reasons that depend on options; entries are looked at again when these change."""


REMEDY = "move it away to start over"


@dataclass(frozen=True)
class _Stored:
    """A described sound as the ledger keeps it."""

    url: str
    size: Count | None
    largest: Count
    checksums: dict[str, str]
    suffix: str
    row: dict[str, str]


@dataclass(frozen=True)
class Totals:
    """What a run has done.

    Attributes:
        fetched: sounds of this run.
        num_bytes: of these.
        requests: that this run sent.
    """

    fetched: int
    num_bytes: int
    requests: int


def refuse_another_source(out: Path, ledger: Ledger, name: str) -> None:
    """Checks that a folder holds no collection by another verb.

    Args:
        out: the folder.
        ledger: its ledger.
        name: of the verb.

    Raises:
        UserError: it does.
    """
    source = ledger.fact("source") or name
    if source != name:
        raise UserError(f"{out} holds a collection by `collect {source}`; give another --out")


class SoundCollector:
    """Fetches sounds into a folder.

    Args:
        archive: where they come from.
        web: the client.
        ledger: of the folder.
        out: the folder.
        options: limits, and whether to ask.
    """

    def __init__(self, archive: SoundArchive, web: Web, ledger: Ledger, out: Path, options: SoundLimits) -> None:
        self._archive = archive
        self._web = web
        self._ledger = ledger
        self._out = out
        self._options = options

    def collect(self, note: str = "") -> Totals:
        """Lists, estimates, asks, fetches, and writes the tables, also when it is interrupted.

        Args:
            note: a sentence about the whole corpus, printed where all of it is wanted.

        Raises:
            UserError: the list can't be read, the disk is too small, the user did not agree, or the server is down.
        """
        refuse_another_source(self._out, self._ledger, self._archive.name)
        self._ledger.state_fact("source", self._archive.name)
        (self._out / SOUNDS).mkdir(parents=True, exist_ok=True)
        self._look_again_if_limits_changed()
        self._archive.list_entries(self._ledger)
        waiting = self._ledger.entries((LISTED, POSTPONED), self._options.limit)
        fetched, num_bytes = 0, 0
        try:
            if waiting:
                self._confirm(waiting, note)
                fetched, num_bytes = self._fetch_all(waiting)
        finally:
            self.write_tables()
        return Totals(fetched, num_bytes, self._web.num_requests)

    def write_tables(self) -> None:
        """Writes metadata.csv and the table of rejections from the ledger."""
        collection = Collection.load_or_begin(self._out)
        entries = self._ledger.entries((FETCHED,))
        if entries:
            collection.add(record_as(dict[str, str], entry.record.get("row"), LEDGER_NAME, REMEDY) for entry in entries)
            collection.save()
        rejected = self._ledger.entries((REJECTED, POSTPONED))
        write_rejected(
            self._out / REJECTED_NAME, (Rejection(each.identifier, each.reason, each.detail) for each in rejected)
        )

    def _look_again_if_limits_changed(self) -> None:
        options = self._options
        limits = repr((options.bbox, options.min_seconds, options.max_file_mb, getattr(options, "since", "")))
        if self._ledger.fact("limits") not in ("", limits):
            self._ledger.look_again(_OPTIONAL_REASONS)
        self._ledger.state_fact("limits", limits)

    def _confirm(self, waiting: list[Entry], note: str) -> None:
        sizes = [self._archive.stated_bytes(entry.record) for entry in waiting]
        known = [size for size in sizes if size is not None]
        if note and self._options.limit is None and self._options.bbox is None:
            print(note, file=sys.stderr, flush=True)
        confirm(
            self._out,
            f"{len(waiting):,} sounds",
            num_bytes=sum(known) if len(known) == len(sizes) else None,
            num_requests=self._archive.requests_per_sound * len(waiting),
            rate=self._options.rate,
            yes=self._options.yes,
        )

    def _fetch_all(self, waiting: list[Entry]) -> tuple[int, int]:
        fetched, num_bytes, unreachable = 0, 0, 0
        with ProgressLine("collecting sounds", len(waiting)) as progress:
            for entry in waiting:
                try:
                    num_bytes += self._fetch(entry)
                    fetched, unreachable = fetched + 1, 0
                except RejectedPair as rejection:
                    self._ledger.update(entry.identifier, REJECTED, reason=rejection.reason, detail=rejection.detail)
                    unreachable = 0
                except Unreachable as error:
                    self._ledger.update(entry.identifier, POSTPONED, reason="not reachable", detail=str(error))
                    unreachable += 1
                    if unreachable == UNREACHABLE_IN_A_ROW:
                        raise UserError(
                            f"{unreachable} sounds in a row could not be reached, the last: {error}; check the network "
                            "and run the same command again, it resumes"
                        ) from error
                progress.advance(detail=f"{fetched:,} fetched, {shown_bytes(num_bytes)}")
        return fetched, num_bytes

    def _fetch(self, entry: Entry) -> int:
        """Describes and downloads one sound; returns its bytes."""
        described = self._describe(entry)
        try:
            return self._download(entry, described)
        except (WrongContent, Refused) as error:
            # The archive may have replaced the file since it was described: ask once more.
            renewed = self._described_again(entry)
            if renewed.file == described.file:
                raise self._rejection(entry, error) from error
        try:
            return self._download(entry, renewed)
        except (WrongContent, Refused) as error:
            raise self._rejection(entry, error) from error

    def _describe(self, entry: Entry) -> Sound:
        """What the entry is; what an earlier run has found out is not asked for again."""
        if "sound" in entry.record:
            known = record_as(_Stored, entry.record["sound"], LEDGER_NAME, REMEDY)
            if not is_valid_key(known.row.get("key", "")) or known.suffix not in SOUND_SUFFIXES:
                raise UserError(f"{LEDGER_NAME}: {entry.identifier} has no name for a file; {REMEDY}")
            return Sound(RemoteFile(known.url, known.size, known.largest, known.checksums), known.suffix, known.row)
        return self._described_again(entry)

    def _described_again(self, entry: Entry) -> Sound:
        try:
            sound = self._archive.describe(entry.identifier, entry.record)
        except Refused as error:
            raise self._rejection(entry, error) from error
        file = sound.file
        stored = _Stored(file.url, file.size, file.largest, dict(file.checksums), sound.suffix, dict(sound.row))
        entry.record["sound"] = dataclasses.asdict(stored)
        self._ledger.update(entry.identifier, LISTED, record=entry.record)
        return sound

    def _download(self, entry: Entry, sound: Sound) -> int:
        name = f"{sound.row['key']}{sound.suffix}"
        final = self._out / SOUNDS / name
        part = final.with_name(f".{name}.download")  # hidden, so that no build takes it for a sound
        if not final.exists():
            validator = entry.record.get("validator", "")
            download(self._web, sound.file, part, validator, lambda text: self._remember(entry, text))
            os.replace(part, final)
        size = part_bytes(final)
        checksum = next(
            (f"{kind}:{sound.file.checksums[kind]}" for kind in HEX_DIGITS if kind in sound.file.checksums), ""
        )
        row = {**sound.row, "mp3name": name, "url": sound.file.url, "bytes": str(size), "checksum": checksum}
        self._ledger.update(entry.identifier, FETCHED, record={"row": row})
        return size

    def _remember(self, entry: Entry, validator: str) -> None:
        entry.record["validator"] = validator
        self._ledger.update(entry.identifier, LISTED, record=entry.record)

    def _rejection(self, entry: Entry, error: Exception) -> RejectedPair:
        reason = "refused by the server" if isinstance(error, Refused) else "wrong checksum"
        return RejectedPair(reason, f"{entry.identifier}: {self._web.shown(str(error))}")


def print_totals(out: Path, ledger: Ledger, totals: Totals) -> None:
    """Prints what a run has done, and what was left out for which reason."""
    counts = ledger.counts()
    print(
        f"{out}: {counts[FETCHED]:,} sounds, {totals.fetched:,} of them fetched now ({shown_bytes(totals.num_bytes)})"
    )
    licences = Counter(str(entry.record["row"].get("licence") or "none stated") for entry in ledger.entries((FETCHED,)))
    if licences:
        listed = ", ".join(f"{shortened(name)} {count:,}" for name, count in licences.most_common(5))
        print(f"licences: {listed}{' …' if len(licences) > 5 else ''}")
    left_out = counts[REJECTED] + counts[POSTPONED]
    if left_out:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in ledger.reasons().most_common())
        print(f"{left_out:,} left out: {reasons}; see {out / REJECTED_NAME}")
    if counts[POSTPONED]:
        print(f"{counts[POSTPONED]:,} could not be reached; the same command tries these again")
    if counts[LISTED]:
        print(f"{counts[LISTED]:,} more are listed; the same command with a larger --limit fetches them")
