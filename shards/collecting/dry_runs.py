"""`--dry-run` of `collect aporee|sounds|tiles`: what is known of it without a network; writes nothing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from shards.collecting.aporee import WHOLE_CORPUS, AporeeArchive
from shards.collecting.archive_items import ItemArchive
from shards.collecting.collecting_sounds import LEDGER_NAME, REJECTED_NAME, SOUNDS, refuse_another_source
from shards.collecting.collecting_tiles import CACHE_NAME, TileCollector
from shards.collecting.collecting_tiles import REJECTED_NAME as REJECTED_TILES
from shards.collecting.collection import Collection
from shards.collecting.commands import KEY_VARIABLE, as_web, sha256_of_placeholder
from shards.collecting.estimate import shown_bytes, shown_requests
from shards.collecting.imagery import IMAGERY, Access
from shards.collecting.ledger import FETCHED, LISTED, POSTPONED, REJECTED, Entry, Ledger, ledger_in_memory
from shards.collecting.options import AporeeOptions, SoundLimits, SoundTableOptions
from shards.collecting.sound_table import TableArchive
from shards.collecting.tile_cache import opened_tile_cache
from shards.collecting.tiles_options import TilesOptions
from shards.command_line.dry_runs import check_can_be_written, free_bytes, print_plan
from shards.errors import RejectedPair
from shards.sources.metadata_table import TABLE_NAME

UNLISTED = "dry run: the options are checked, nothing was asked of the network; nothing was written"
IN_MEMORY = Path(":memory:")


def dry_run_aporee(options: AporeeOptions) -> None:
    """Prints what `collect aporee` would do; the archive is not asked.

    Raises:
        UserError: --out can't be written, or holds another collection.
    """
    check_can_be_written(options.out)
    with ledger_in_memory(options.out / LEDGER_NAME) as ledger:
        refuse_another_source(options.out, ledger, AporeeArchive.name)
        archive = AporeeArchive(ItemArchive(as_web(options), options.base_url), options)
        waiting = ledger.entries((LISTED, POSTPONED), options.limit)
        sizes = [archive.stated_bytes(entry.record) for entry in waiting]
        unlisted = "known once the archive is listed"
        if options.limit is not None:
            requests = archive.requests_per_sound * options.limit
            unlisted += f"; at most {options.limit:,} sounds, {shown_requests(requests, options.rate)}"
        whole = WHOLE_CORPUS if options.limit is None and options.bbox is None and not options.since else ""
        print_plan(
            {
                "archive": f"{options.base_url}, {archive.query}",
                "limits": _limits(options),
                "there": _there(ledger),
                "to fetch": _to_fetch(waiting, sizes, archive.requests_per_sound, options.rate) or unlisted,
                "size": whole,
                "writes": _writes(options.out),
            },
            ending=UNLISTED,
        )


def dry_run_sounds(options: SoundTableOptions) -> None:
    """Prints what `collect sounds` would do: how many rows of the table are usable, and their stated bytes.

    Raises:
        UserError: the table can't be used, or --out can't be written or holds another collection.
    """
    archive = TableArchive(options)
    check_can_be_written(options.out)
    with ledger_in_memory(options.out / LEDGER_NAME) as ledger:
        refuse_another_source(options.out, ledger, archive.name)
        archive.list_entries(ledger)
        wanted, reasons = [], Counter(ledger.reasons())
        for entry in ledger.entries((LISTED, POSTPONED), options.limit):
            try:
                archive.describe(entry.identifier, entry.record)
                wanted.append(entry)
            except RejectedPair as rejection:
                reasons[rejection.reason] += 1
        sizes = [archive.stated_bytes(entry.record) for entry in wanted]
        print_plan(
            {
                "table": f"{options.table}, {ledger.num_entries():,} entries",
                "limits": _limits(options),
                "there": _there(ledger),
                "left out": ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()),
                "to fetch": _to_fetch(wanted, sizes, archive.requests_per_sound, options.rate) or "nothing",
                "writes": _writes(options.out),
            },
            ending=UNLISTED,
        )


def dry_run_tiles(options: TilesOptions) -> None:
    """Prints what `collect tiles` would do: the images that are missing, and for --xyz how many tiles they take.

    The other services have to be asked before their requests can be counted.

    Raises:
        UserError: there is no collection, a value is not valid, or the folder can't be written.
    """
    collection = Collection.load(options.out)
    check_can_be_written(options.out)
    key = options.key or os.environ.get(KEY_VARIABLE, "")
    placeholders = [sha256_of_placeholder(text) for text in options.placeholder]
    name = next(name for name in IMAGERY if getattr(options, name))
    with opened_tile_cache(IN_MEMORY, placeholders) as cache:
        wanted = TileCollector.wanted_of(collection, options)
        requests = f"at least {shown_requests(len(wanted), options.rate)}"
        where = f"{getattr(options, name).partition('?')[0]}, which is not asked"
        if name == "xyz":
            source = IMAGERY.load(name)(Access(options, as_web(options, (key,) if key else ()), cache, key))
            count = TileCollector(source, cache, collection, options).num_requests(wanted)
            requests, where = f"about {shown_requests(count, options.rate)}", source.provider
    print_plan(
        {
            "places": f"{len(collection.included):,} in {options.out / TABLE_NAME}",
            "imagery": f"{name}: {where}",
            "terms": f"{options.terms}; {options.attribution}",
            "images": f"{options.side} pixels, scales {' '.join(map(str, options.scales))}",
            "to fetch": f"{len(wanted):,} images, {requests}" if wanted else "nothing: all images are there",
            "writes": f"{options.out}: images/, {TABLE_NAME}, {REJECTED_TILES}, {CACHE_NAME}; "
            f"{shown_bytes(free_bytes(options.out))} free",
        },
        ending=UNLISTED,
    )


def _limits(options: SoundLimits) -> str:
    """The limits that leave sounds out."""
    since = getattr(options, "since", "")
    return ", ".join(
        text
        for text in (
            f"within {' '.join(f'{degrees:g}' for degrees in options.bbox)}" if options.bbox else "",
            f"since {since}" if since else "",
            f"the first {options.limit:,}" if options.limit is not None else "",
            f"at least {options.min_seconds:g} s, at most {options.max_file_mb:g} MB each",
        )
        if text
    )


def _there(ledger: Ledger) -> str:
    counts = ledger.counts()
    states = (FETCHED, REJECTED, POSTPONED)
    return ", ".join(f"{counts[state]:,} {state}" for state in states if counts[state])


def _to_fetch(waiting: list[Entry], sizes: list[int | None], requests_each: int, rate: float) -> str:
    """The sounds that are still to be fetched; "" if none are known."""
    if not waiting:
        return ""
    known = [size for size in sizes if size is not None]
    size = f"at most {shown_bytes(sum(known))}" if len(known) == len(sizes) else "of unknown size"
    return f"{len(waiting):,} sounds, {size}, at least {shown_requests(requests_each * len(waiting), rate)}"


def _writes(out: Path) -> str:
    return f"{out}: {SOUNDS}/, {TABLE_NAME}, {REJECTED_NAME}, {LEDGER_NAME}; {shown_bytes(free_bytes(out))} free"
