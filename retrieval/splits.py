"""The verb `split`: writes the split of a protocol as a file of keys, which `build --split-file` takes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from retrieval.options import SplitOptions
from retrieval.protocols import PROTOCOLS
from retrieval.protocols.corpus_rows import CorpusRow
from shards.atomic_files import write_text_atomically
from shards.command_line.dry_runs import check_file_can_be_written, print_plan, size_of
from shards.csv_text import csv_text
from shards.errors import UserError
from shards.schema import SPLITS
from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, parse_coordinate
from shards.sources.keys import make_key
from shards.sources.metadata_table import MetadataTable, read_table
from shards.sources.tables import FAULT, read_table_file

HEADER = ("key", "split")
LONG_KEY = "long_key"
"""SoundingEarth's other key, by which GeoCLAP's authors list recordings that can't be decoded."""


def write_split(options: SplitOptions) -> dict[str, int]:
    """Runs `split`, and prints how many pairs each split has and how many were published.

    Returns:
        The number of pairs of each split.

    Raises:
        UserError: a file can't be read or written, or the protocol can't split its rows.
    """
    entries = _entries(options)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(options.out, csv_text(HEADER, entries))
    except OSError as error:
        raise UserError(f"out {options.out} can't be written: {error.strerror}; give another file") from error
    print(f"wrote {options.out}; use it with 'python shards/run.py build … --split-file {options.out}'")
    counts = Counter(split for _, split in entries)
    return {split: counts[split] for split in SPLITS}


def dry_run_split(options: SplitOptions) -> None:
    """Makes the split and prints its counts, as `split` does, and what it would write.

    Raises:
        UserError: as `split`.
    """
    check_file_can_be_written(options.out)
    entries = _entries(options)
    size = len(csv_text(HEADER, entries).encode())
    again = "replaces" if options.out.exists() else "writes"
    print_plan({again: f"{options.out}: {len(entries):,} keys with their splits ({size_of(size)})"})


def _entries(options: SplitOptions) -> list[tuple[str, str]]:
    """The key and the split of each row that has one; prints how many of each there are."""
    options.check()
    protocol = PROTOCOLS[options.protocol]()
    table = read_table(options.metadata.parent, table=options.metadata)
    without = _read_keys(options.without) if options.without else set()
    rows = list(_rows(table, without))
    splits = protocol.split(rows)
    entries = [(row.key, split) for row, split in zip(rows, splits, strict=True) if split is not None]
    if not entries:
        raise UserError(f"protocol {protocol.name} leaves out all {len(rows):,} rows of {options.metadata}")
    counts = Counter(split for _, split in entries)
    published = protocol.published.gallery_sizes if protocol.published else {}
    for split in SPLITS:
        beside = f" (published: {published[split]:,})" if split in published else ""
        print(f"{split:<6} {counts[split]:>9,}{beside}")
    if left_out := len(rows) - len(entries):
        print(f"{left_out:,} of {len(rows):,} rows are left out by the protocol or by --without")
    if any(counts[split] != size for split, size in published.items()):
        print(
            "sizes differ from the published: splits of this protocol depend on every row, so another table, or other "
            "recordings that are missing (--without), give other splits"
        )
    return entries


def _rows(table: MetadataTable, without: set[str]) -> Iterator[CorpusRow]:
    """The rows of the table; those that a build rejects by their key alone are left out, and named."""
    seen: set[str] = set()
    for place, row in table.rows:
        text = "" if FAULT in row else table.key_text(row)
        key = make_key(text) if text else ""
        if not key or key in seen:
            reason = row.get(FAULT) or (f"has key {text} of an earlier row" if key else "has no key")
            print(f"warning: {table.unit} {place} {reason} and is left out", file=sys.stderr, flush=True)
            continue
        seen.add(key)
        yield CorpusRow(key, row, _place(table, row), bool(without & {key, text, row.get(LONG_KEY, "")} - {""}))


def _place(table: MetadataTable, row: dict[str, str]) -> tuple[float, float] | None:
    try:
        longitude = parse_coordinate(table.field(row, "longitude"), LONGITUDE_AXIS)
        latitude = parse_coordinate(table.field(row, "latitude"), LATITUDE_AXIS)
    except ValueError:
        return None
    return (longitude, latitude) if -180 <= longitude <= 180 and -90 <= latitude <= 90 else None


def _read_keys(path: Path) -> set[str]:
    """The keys in a table with a column key or long_key."""
    found = read_table_file(path, None, (LONG_KEY, "key").__contains__)
    columns = [name for name in (LONG_KEY, "key") if name in found.columns]
    if not columns:
        raise UserError(
            f"--without {path} has no column 'key' or '{LONG_KEY}'; its columns are: {', '.join(found.columns)}"
        )
    return {row[columns[0]] for _, row in found.rows}
