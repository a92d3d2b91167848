"""`--split-file`: splits by key from a table, rows without a split left out and said, mistakes named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shards.building.assigning import assign_splits, settle_split, split_record
from shards.building.planning import BuildOptions, check_options
from shards.building.split_file import keep_listed, read_split_file
from shards.errors import UserError
from shards.schema import Pair, Rejection
from shards.sources import SOURCES
from shards.sources.keys import make_key
from shards.sources.source import Listing, SourceOptions

SOURCE = SOURCES["recordings"](SourceOptions(Path("root")))


def listing_of(*keys: str) -> Listing:
    return Listing(tuple(Pair(make_key(key), Path("a.jpg"), Path("a.wav"), 0.0, 0.0) for key in keys), (), ())


def options_of(path: Path, **more: object) -> BuildOptions:
    return BuildOptions("recordings", Path("out"), split_file=path, **more)  # type: ignore[arg-type]


def test_pairs_get_the_split_of_their_key(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("key;note;split\nSite 1;a;test\n22;b;train\n7;;val\n")
    listing = listing_of("7", "Site 1", "22", "5")
    kept = keep_listed(listing, read_split_file(path), path)
    assert [pair.key for pair in kept.pairs] == ["7", make_key("Site 1"), "22"]
    assert kept.notices == ("1 of 4 rows are not in split.csv and are left out",)
    options, words = settle_split(kept, options_of(path))
    assert (options.split_by, words) == ("file", [])
    assert assign_splits(SOURCE, kept, options, 1) == ["val", "test", "train"]


def test_rejected_rows_that_the_file_lacks_do_not_count_as_rejected(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("key,split\n1,train\n2,test\n9,val\n")
    rejected = tuple(Rejection(key, "missing image", "none") for key in ("2", "3", ""))
    listing = dataclasses.replace(listing_of("1", "4"), rejected=rejected, problems=tuple(enumerate(rejected, start=2)))
    kept = keep_listed(listing, read_split_file(path), path)
    assert [rejection.key for rejection in kept.rejected] == ["2", ""]
    assert [place for place, _ in kept.problems] == [2, 4]
    assert kept.num_rows == 3
    assert kept.notices == (
        "2 of 5 rows are not in split.csv and are left out",
        "1 keys of split.csv are not in the corpus, such as 9",
    )


def test_the_record_tells_files_apart_by_their_splits_alone(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", "key,split\n1,train\n2,test\n"),
        ("b.csv", "split\tkey\ntest\t2\ntrain\t1\n"),
        ("c.csv", "key,split\n1,train\n2,val\n"),
    ):
        (tmp_path / name).write_text(content)
    listing = listing_of("1", "2")
    records = [split_record(listing, settle_split(listing, options_of(tmp_path / f"{name}.csv"))[0]) for name in "abc"]
    assert records[0] == records[1] != records[2]
    assert records[0]["split_by"] == "file"
    assert "split_shares" not in records[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("key,part\n1,train\n", "no column 'split'; its columns are: key, part"),
        ("id,split\n1,train\n", "no column 'key'"),
        ("key,split\n1,training\n", "line 2: split must be one of train, val, test, got 'training' for key 1"),
        ("key,split\n1,train\n1,test\n", "line 3: key 1 stands on an earlier line"),
        ("key,split\n,train\n", "line 2: the key is empty"),
        ("key,split\n1,train,x\n", "line 2 has more fields"),
        ("key,split\n", "has no rows"),
    ],
)
def test_mistakes_in_the_file_are_named(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        read_split_file(path)


def test_a_file_of_another_corpus_and_missing_or_idle_options_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("key,split\n1,train\n")
    with pytest.raises(UserError, match="has none of the 2 pairs of the corpus"):
        keep_listed(listing_of("5", "6"), read_split_file(path), path)
    with pytest.raises(UserError, match="needs --split-file"):
        check_options(BuildOptions("recordings", Path("out"), split_by="file"))
    with pytest.raises(UserError, match="no effect with --split-by cell"):
        check_options(options_of(path, split_by="cell"))
    with pytest.raises(UserError, match=r"split\.csv can't be read"):
        read_split_file(tmp_path / "none" / "split.csv")
    check_options(options_of(path, split_by="file"))
