"""Runs the verbs of `collect`, and prints what they have done."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from shards.collecting.options import AporeeOptions, CleanOptions, PoliteOptions, SoundTableOptions
from shards.collecting.tiles_options import TilesOptions
from shards.collecting.web import Web, WebSettings
from shards.errors import UserError, end_on_sigterm
from shards.streaming.fetching import RetryRule

KEY_VARIABLE = "EARSHOT_IMAGERY_KEY"
"""Environment variable with the key of an imagery service."""


def run_aporee(options: AporeeOptions) -> None:
    """Collects Radio Aporee ::: Maps."""
    from shards.collecting.aporee import WHOLE_CORPUS, AporeeArchive
    from shards.collecting.archive_items import ItemArchive
    from shards.collecting.collecting_sounds import LEDGER_NAME, SoundCollector, print_totals
    from shards.collecting.ledger import opened_ledger

    end_on_sigterm()
    options.out.mkdir(parents=True, exist_ok=True)
    web = as_web(options)
    with opened_ledger(options.out / LEDGER_NAME) as ledger:
        archive = AporeeArchive(ItemArchive(web, options.base_url), options)
        totals = SoundCollector(archive, web, ledger, options.out, options).collect(WHOLE_CORPUS)
        print_totals(options.out, ledger, totals)


def run_sounds(options: SoundTableOptions) -> None:
    """Collects the sounds of a table."""
    from shards.collecting.collecting_sounds import LEDGER_NAME, SoundCollector, print_totals
    from shards.collecting.ledger import opened_ledger
    from shards.collecting.sound_table import TableArchive

    end_on_sigterm()
    archive = TableArchive(options)
    options.out.mkdir(parents=True, exist_ok=True)
    web = as_web(options)
    with opened_ledger(options.out / LEDGER_NAME) as ledger:
        totals = SoundCollector(archive, web, ledger, options.out, options).collect()
        print_totals(options.out, ledger, totals)


def run_tiles(options: TilesOptions) -> None:
    """Collects imagery."""
    from shards.collecting.collecting_tiles import CACHE_NAME, TileCollector, print_tile_totals
    from shards.collecting.collection import Collection
    from shards.collecting.estimate import confirm
    from shards.collecting.imagery import IMAGERY, Access
    from shards.collecting.tile_cache import opened_tile_cache

    end_on_sigterm()
    key = options.key or os.environ.get(KEY_VARIABLE, "")
    collection = Collection.load(options.out)
    web = as_web(options, (key,) if key else ())
    placeholders = [sha256_of_placeholder(text) for text in options.placeholder]
    with opened_tile_cache(options.out / CACHE_NAME, placeholders) as cache:
        name = next(name for name in IMAGERY if getattr(options, name))
        source = IMAGERY.load(name)(Access(options, web, cache, key))
        collector = TileCollector(source, cache, collection, options)
        wanted = collector.wanted()
        if wanted:
            what = f"{len(wanted):,} images from {source.provider}"
            requests = collector.num_requests(wanted)
            confirm(options.out, what, num_bytes=None, num_requests=requests, rate=options.rate, yes=options.yes)
        print_tile_totals(options.out, collector.collect())


def run_clean(options: CleanOptions) -> None:
    """Excludes what rules match, or restores what was excluded."""
    from shards.collecting.cleaning import clean, print_cleaning, restore
    from shards.collecting.collection import Collection

    collection = Collection.load(options.root)
    if options.restore:
        print(restore(collection, options.restore))
        return
    print_cleaning(options.root, clean(collection, options.rules, dry_run=options.dry_run), dry_run=options.dry_run)


def as_web(options: PoliteOptions, secrets: tuple[str, ...] = ()) -> Web:
    """The client with the options' pace; secrets are never shown."""
    retry = RetryRule(options.attempts, options.backoff, max(120.0, options.backoff))
    return Web(WebSettings(options.rate, options.contact, retry, options.longest_wait, secrets))


def sha256_of_placeholder(text: str) -> str:
    """The SHA-256 that an option gives, or that of the file that it names.

    Raises:
        UserError: it is neither.
    """
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    try:
        return hashlib.sha256(Path(text).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"--placeholder {text} is neither a file nor a SHA-256 of 64 hexadecimal digits") from error
