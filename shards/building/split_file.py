"""The file of `--split-file`: a table of keys and splits; rows of the corpus without one are left out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from shards.errors import UserError
from shards.schema import SPLITS
from shards.sources.keys import make_key
from shards.sources.source import Listing
from shards.sources.tables import FAULT, read_table_file

KEY_COLUMN, SPLIT_COLUMN = "key", "split"


def read_split_file(path: Path) -> dict[str, str]:
    """The split of each key in a table with the columns key and split (train, val or test).

    Returns:
        Key of a sample → split. Keys are written as in the table of the corpus.

    Raises:
        UserError: the file can't be read, lacks a column, or has a row with another split or with a key of an earlier
            row.
    """
    table = read_table_file(path, None, (KEY_COLUMN, SPLIT_COLUMN).__contains__)
    for column in (KEY_COLUMN, SPLIT_COLUMN):
        if column not in table.columns:
            raise UserError(
                f"--split-file {path} has no column {column!r}; its columns are: {', '.join(table.columns)}; it needs "
                "the columns key and split"
            )
    splits: dict[str, str] = {}
    for place, row in table.rows:
        text, split = row[KEY_COLUMN], row[SPLIT_COLUMN]
        where = f"--split-file {path}, {table.unit} {place}"
        if FAULT in row:
            raise UserError(f"{where} {row[FAULT]}; give a key and its split")
        if not text:
            raise UserError(f"{where}: the key is empty; give a key and its split")
        if split not in SPLITS:
            raise UserError(f"{where}: split must be one of {', '.join(SPLITS)}, got {split!r} for key {text}")
        key = make_key(text)
        if key in splits:
            raise UserError(f"{where}: key {text} stands on an earlier {table.unit}; remove one of them")
        splits[key] = split
    if not splits:
        raise UserError(f"--split-file {path} has no rows; give a key and its split in each")
    return splits


def keep_listed(listing: Listing, splits: dict[str, str], path: Path) -> Listing:
    """The listing without the rows whose key has no split, with a notice of how many these are.

    Args:
        listing: of the corpus.
        splits: from `read_split_file`.
        path: of that file, for the notice.

    Raises:
        UserError: no pair of the corpus is in the file.
    """
    pairs = tuple(pair for pair in listing.pairs if pair.key in splits)
    if not pairs:
        raise UserError(
            f"--split-file {path} has none of the {len(listing.pairs):,} pairs of the corpus (its keys are such as "
            f"{next(iter(splits))}); write its keys as in the column key of the table"
        )
    rejected = tuple(rejection for rejection in listing.rejected if _may_be_listed(rejection.key, splits))
    notices = list(listing.notices)
    if left_out := listing.num_rows - len(pairs) - len(rejected):
        notices.append(f"{left_out:,} of {listing.num_rows:,} rows are not in {path.name} and are left out")
    found = {pair.key for pair in pairs} | {rejection.key for rejection in rejected}
    if missing := [key for key in splits if key not in found]:
        notices.append(f"{len(missing):,} keys of {path.name} are not in the corpus, such as {missing[0]}")
    return dataclasses.replace(
        listing,
        pairs=pairs,
        rejected=rejected,
        notices=tuple(notices),
        problems=tuple(problem for problem in listing.problems if _may_be_listed(problem[1].key, splits)),
    )


def checksum_of(splits: dict[str, str]) -> str:
    """SHA-256 of the splits, whatever the order and format of their file."""
    return hashlib.sha256(json.dumps(sorted(splits.items())).encode("ascii")).hexdigest()


def _may_be_listed(key: str, splits: dict[str, str]) -> bool:
    """Whether a rejected row, whose key may be unknown, is one that the file lists."""
    return not key or make_key(key) in splits
