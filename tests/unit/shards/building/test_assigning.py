"""Splits as the options say: published sets stay as they are, small ones get exact shares, the default is said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from shards.building.assigning import assign_splits, settle_split, split_record
from shards.building.planning import BuildOptions
from shards.building.splitting import cell_group, split_at_random, split_by_key, value_group
from shards.errors import UserError
from shards.schema import Pair
from shards.sources import SOURCES
from shards.sources.source import Listing, SourceOptions

SOURCE = SOURCES["recordings"](SourceOptions(Path("root")))


def listing_of(count: int, prefix: str = "") -> Listing:
    pairs = tuple(
        Pair(f"{prefix}{key}", Path("a.jpg"), Path("a.wav"), key % 90 / 10, key % 70 / 10, {}, {"site": f"s{key // 4}"})
        for key in range(count)
    )
    return Listing(pairs, (), ("site",))


def options_of(split_by: str | None, **more: object) -> BuildOptions:
    return BuildOptions("recordings", Path("out"), split_by=split_by, split_seed=3, **more)  # type: ignore[arg-type]


def test_sets_of_500_pairs_keep_the_splits_of_earlier_versions() -> None:
    listing = listing_of(500)
    keys = [pair.key for pair in listing.pairs]
    assert assign_splits(SOURCE, listing, options_of("key"), 1) == list(map(split_by_key, keys))
    assert assign_splits(SOURCE, listing, options_of("random"), 1) == [split_at_random(key, 3) for key in keys]
    cells = [
        split_at_random(cell_group(pair.longitude or 0.0, pair.latitude or 0.0, 50.0), 3) for pair in listing.pairs
    ]
    assert assign_splits(SOURCE, listing, options_of("cell", cell_km=50.0), 1) == cells
    by_site = [split_at_random(value_group(pair.columns["site"], pair.key), 3) for pair in listing.pairs]
    options = options_of("column", column=(("site",),))
    assert assign_splits(SOURCE, listing, options, 1) == by_site
    assert split_record(listing, options) == {"split_by": "column", "split_seed": 3, "column": "site"}


def test_smaller_sets_have_exact_shares_unless_split_by_key() -> None:
    listing = listing_of(200)
    for options in (options_of("random"), options_of("column", column=(("site",),)), options_of("cell", cell_km=1.0)):
        assert Counter(assign_splits(SOURCE, listing, options, 1)) == {"train": 140, "val": 20, "test": 40}
        assert split_record(listing, options)["split_shares"] == "exact"
    published = [split_by_key(pair.key) for pair in listing.pairs]
    assert assign_splits(SOURCE, listing, options_of("key"), 1) == published
    assert "split_shares" not in split_record(listing, options_of("key"))


@pytest.mark.parametrize(("prefix", "split_by", "num_words"), [("", "key", 0), ("s", "random", 1)])
def test_the_default_depends_on_the_keys_and_is_said(prefix: str, split_by: str, num_words: int) -> None:
    settled, words = settle_split(listing_of(12, prefix), options_of(None))
    assert (settled.split_by, len(words)) == (split_by, num_words)
    # What the user says stands.
    assert settle_split(listing_of(12, prefix), options_of("cell")) == (options_of("cell"), [])


def test_keys_that_are_no_numbers_have_no_published_split() -> None:
    with pytest.raises(UserError, match="key 's0' is not a number; give --split-by random, cell, column or image"):
        assign_splits(SOURCE, listing_of(3, "s"), options_of("key"), 1)
