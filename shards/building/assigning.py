"""Assigns the listed pairs to splits as the options say: by key, at random, or by groups that stay together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shards.building.exact_shares import EXACT_BELOW_PAIRS, split_exactly
from shards.building.split_file import checksum_of, read_split_file
from shards.building.splitting import cell_group, split_at_random, split_by_key, value_group
from shards.errors import UserError
from shards.schema import SPLITS, Pair
from shards.sources.source import Listing, Source
from shards.sources.table_roles import parse_columns

if TYPE_CHECKING:
    from shards.building.planning import BuildOptions


def settle_split(listing: Listing, options: BuildOptions) -> tuple[BuildOptions, list[str]]:
    """The options with the split by default: the corpus's own, else by key if all keys are numbers, else at random.

    Returns:
        The options, and what the user should know of the choice, a sentence each.
    """
    if options.split_file is not None:
        return dataclasses.replace(options, split_by="file"), []
    if options.split_by is not None:
        return options, []
    if listing.splits is not None:
        counts = Counter(listing.splits.values())
        words = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if counts[split])
        if counts["train"] and len(counts) > 1:
            kept = f"splits are those of the corpus: {words} (--split-by random, cell, column or image draws others)"
            return dataclasses.replace(options, split_by="source"), [kept]
        settled, choices = settle_split(dataclasses.replace(listing, splits=None), options)
        return settled, [f"the corpus has one split alone ({words}), so others are drawn", *choices]
    if all(_is_number(pair.key) for pair in listing.pairs):
        return dataclasses.replace(options, split_by="key"), []
    words = "splits are drawn at random, because keys are not numbers (--split-by cell, column or image draws groups)"
    return dataclasses.replace(options, split_by="random"), [words]


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdigit()


def assign_splits(source: Source, listing: Listing, options: BuildOptions, num_workers: int) -> list[str]:
    """The split of each listed pair.

    Sets of 500 pairs and more are split by hash, so that adding a pair moves no other; smaller ones in exact shares.

    Raises:
        UserError: a key is not a number, the column does not exist, a pair has no coordinates, or the file of keys is
            not valid.
    """
    pairs = listing.pairs
    if options.split_file is not None:
        splits = read_split_file(options.split_file)
        return [splits[pair.key] for pair in pairs]
    if options.split_by == "source":
        if listing.splits is None:
            raise UserError(
                "--split-by source needs a corpus with splits of its own: a column split of train, val and test, or "
                "train, val or test in the names of all its files; give --split-by random, cell, column or image"
            )
        return [listing.splits[pair.key] for pair in pairs]
    if options.split_by == "key":
        try:
            return [split_by_key(pair.key) for pair in pairs]
        except ValueError as error:
            raise UserError(
                f"--split-by key needs keys that are numbers: {error}; give --split-by random, cell, column or image"
            ) from error
    groups = _groups(source, listing, options, num_workers)
    if has_exact_shares(listing, options):
        return split_exactly(groups, options.split_seed)
    return [split_at_random(group, options.split_seed) for group in groups]


def has_exact_shares(listing: Listing, options: BuildOptions) -> bool:
    """Whether the set is so small that its splits have exact shares."""
    return options.split_by not in ("key", "file", "source") and len(listing.pairs) < EXACT_BELOW_PAIRS


def split_record(listing: Listing, options: BuildOptions) -> dict[str, Any]:
    """The options of the split, by name, for the manifest."""
    return {
        "split_by": options.split_by,
        "split_seed": options.split_seed,
        **({"cell_km": options.cell_km} if options.split_by == "cell" else {}),
        **({"column": split_column(options)} if options.split_by == "column" else {}),
        **(
            {}
            if options.split_file is None
            else {"split_file_sha256": checksum_of(read_split_file(options.split_file))}
        ),
        **({"split_shares": "exact"} if has_exact_shares(listing, options) else {}),
    }


def split_column(options: BuildOptions) -> str | None:
    """The column to split by, None if there is none."""
    return given_columns(options)[1]


def given_columns(options: BuildOptions) -> tuple[dict[str, str], str | None]:
    """The columns of roles that the user named, and the column to split by, from all values of --column.

    Raises:
        UserError: see `parse_columns`.
    """
    return parse_columns([word for words in options.column for word in words])


def _groups(source: Source, listing: Listing, options: BuildOptions, num_workers: int) -> Sequence[str]:
    """The group of each pair; all pairs of a group must be in one split."""
    pairs = listing.pairs
    if options.split_by == "random":
        return [pair.key for pair in pairs]
    if options.split_by == "cell":
        return [_cell(pair, options.cell_km) for pair in pairs]
    if options.split_by == "image":
        from shards.building.repeated_images import groups_by_image  # here, because --help needs no OpenCV

        return groups_by_image(source, pairs, num_workers)
    column = split_column(options)
    if column is None or column not in listing.columns:
        raise UserError(f"--column {column}: the table has no such column; choose one of: {', '.join(listing.columns)}")
    return [value_group(pair.columns[column], pair.key) for pair in pairs]


def _cell(pair: Pair, cell_km: float) -> str:
    if pair.longitude is None or pair.latitude is None:
        raise UserError(
            f"--split-by cell needs coordinates for every pair, but neither the table nor {pair.image.name} has "
            f"them for key {pair.key}; add its longitude and latitude, or remove the row"
        )
    return cell_group(pair.longitude, pair.latitude, cell_km)
