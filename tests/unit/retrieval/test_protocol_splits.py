"""The splits of later work on tables of SoundingEarth's shape, against the rules written down with pandas."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from corpus_tables import NUM_ROWS, write_corpus_table

from retrieval.options import SplitOptions
from retrieval.protocols import PROTOCOLS, geosound
from retrieval.protocols.corpus_rows import CorpusRow, sample
from retrieval.splits import write_split
from shards.errors import UserError

Splits = dict[str, str]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus_table(tmp_path_factory.mktemp("corpus") / "metadata.csv")


def written(protocol: str, table: Path, without: Path | None = None) -> Splits:
    out = table.parent / f"{protocol}.csv"
    counts = write_split(SplitOptions(protocol, table, out, without))
    with out.open(newline="", encoding="utf-8") as file:
        splits = {row["key"]: row["split"] for row in csv.DictReader(file)}
    assert Counter(splits.values()) == {split: count for split, count in counts.items() if count}
    return splits


def read(table: Path) -> pandas.DataFrame:
    return pandas.read_csv(table, float_precision="round_trip")


def splits_of(parts: dict[str, pandas.DataFrame]) -> Splits:
    return {str(key): split for split, frame in parts.items() for key in frame.key}


def three_parts(frame: pandas.DataFrame) -> dict[str, pandas.DataFrame]:
    frame = frame[frame.mp3samplerate >= 16000]
    n = len(frame)
    mixed = frame.sample(frac=1, random_state=42)
    first, second = int(0.70 * n), int(0.8 * n)
    return {"train": mixed.iloc[:first], "val": mixed.iloc[first:second], "test": mixed.iloc[second:]}


def by_cells(frame: pandas.DataFrame, cells: list[Any], share: float) -> dict[str, pandas.DataFrame]:
    """Draws with NumPy's global state, a group of cells after the other."""
    frame = frame.assign(cell=pandas.Series(pandas.factorize(pandas.Series(cells))[0], index=frame.index))
    counts = pandas.Series(Counter(frame.cell))  # in the order of their first pairs
    chosen = counts[counts >= 25]
    low, high = chosen.quantile(0.33), chosen.quantile(0.66)
    np.random.seed(42)
    val: list[int] = []
    test: list[int] = []
    for group in (chosen[chosen <= low], chosen[(chosen > low) & (chosen <= high)], chosen[chosen > high]):
        held_out = np.random.choice(group.index, int(share * len(group)), replace=False)
        of_val = np.random.choice(held_out, int(0.40 * len(held_out)), replace=False)
        val += list(of_val)
        test += [cell for cell in held_out if cell not in of_val]
    is_val, is_test = frame.cell.isin(val), frame.cell.isin(test)
    return {"train": frame[~is_val & ~is_test], "val": frame[is_val], "test": frame[is_test]}


def ten_kilometres(row: Any) -> tuple[int, int]:
    height = 10.0 / 111.0
    width = 10.0 / (111.0 * math.cos(math.radians(row.latitude)))
    return int((row.latitude + 90) // height), int((row.longitude + 180) // width)


@pytest.mark.parametrize("protocol", ["geoclap", "spectrum4geo"])
def test_geoclap_cuts_pandas_random_order(protocol: str, table: Path) -> None:
    expected = splits_of(three_parts(read(table)))
    splits = written(protocol, table)
    assert splits == expected
    assert len(splits) == NUM_ROWS - 180
    assert Counter(splits.values()) == {"train": 35255, "val": 5037, "test": 10073}


@pytest.mark.parametrize("protocol", ["psm", "psm-corrected"])
def test_psm_holds_out_cells(protocol: str, table: Path) -> None:
    mixed = pandas.concat(three_parts(read(table)).values()).sample(frac=1, random_state=42).reset_index(drop=True)
    cells: list[Any] = [ten_kilometres(row) for row in mixed.itertuples()]
    if protocol == "psm":
        cells = [band * 360 + column for band, column in cells]
    parts = by_cells(mixed, cells, 0.35)
    splits = written(protocol, table)
    assert splits == splits_of(parts)
    assert min(Counter(splits.values()).values()) > 1000
    where = dict(zip(map(str, mixed.key), (ten_kilometres(row) for row in mixed.itertuples()), strict=True))
    cells_of_split = {split: {where[key] for key in splits if splits[key] == split} for split in ("train", "test")}
    assert cells_of_split["train"].isdisjoint(cells_of_split["test"])


def test_the_published_cell_number_keeps_far_cells_together_and_the_corrected_one_does_not(table: Path) -> None:
    assert written("psm", table) != written("psm-corrected", table)
    psm, corrected = PROTOCOLS["psm"](), PROTOCOLS["psm-corrected"]()
    assert psm.cell_name(1000, 360) == psm.cell_name(1001, 0)
    assert corrected.cell_name(1000, 360) != corrected.cell_name(1001, 0)
    assert corrected.published is None


@pytest.mark.parametrize(("sources", "sizes"), [(False, (5000, 10000)), (True, (5000, 10000)), (True, (407, 903))])
def test_geosound_takes_the_shares_of_training(
    sources: bool, sizes: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sizes[0] < 5000:
        # The held-out cells of GeoSound's 318,000 rows have more pairs than are taken; those of this table do not.
        monkeypatch.setattr(geosound, "SIZES", dict(zip(("val", "test"), sizes, strict=True)))
    table = write_corpus_table(tmp_path / "metadata.csv", sources=sources)
    bad = tmp_path / "bad.csv"
    bad.write_text("key\n" + "\n".join(map(str, read(table).key[:30])) + "\n")
    frame = read(table).sample(frac=1, random_state=42).reset_index(drop=True)
    frame = frame[~frame.key.isin(pandas.read_csv(bad).key)]
    if not sources:
        frame = frame.assign(source="aporee")
    cells = [int(row.latitude + 90) * 360 + int(row.longitude + 180) for row in frame.itertuples()]
    parts = by_cells(frame, cells, 0.10)
    for split, size in zip(("val", "test"), sizes, strict=True):
        wanted = {
            source: min(int(count / len(parts["train"]) * size), int((parts[split].source == source).sum()))
            for source, count in Counter(parts["train"].source).items()
        }
        if sources:
            wanted["iNat"] += size - sum(wanted.values())
            wanted["iNat"] = min(wanted["iNat"], int((parts[split].source == "iNat").sum()))
        parts[split] = pandas.concat(
            [
                parts[split][parts[split].source == source].sample(n=count, random_state=42)
                for source, count in wanted.items()
            ]
        )
    splits = written("geosound", table, bad)
    assert splits == splits_of(parts)
    found = [len(parts[split]) for split in ("val", "test")]
    assert found == list(sizes) if sizes[0] < 5000 else min(found) > 500


def test_tables_of_the_published_size_give_the_published_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_corpus_table(tmp_path / "metadata.csv", num_rows=50_792, low_rates=False)
    splits = written("geoclap", table)
    assert Counter(splits.values()) == PROTOCOLS["geoclap"].published.gallery_sizes  # type: ignore[union-attr]
    said = capsys.readouterr().out
    assert "test      10,159 (published: 10,159)" in said
    assert "sizes differ" not in said


def test_khdlr_splits_by_the_last_digit(table: Path) -> None:
    splits = written("khdlr", table)
    assert len(splits) == NUM_ROWS
    assert all(split == {"7": "val", "2": "test", "5": "test"}.get(key[-1], "train") for key, split in splits.items())


def test_rows_are_left_out_by_either_key_before_the_draw(table: Path, tmp_path: Path) -> None:
    frame = read(table)
    bad = frame.long_key[::1000]
    (tmp_path / "bad.csv").write_text("long_key\n" + "\n".join(bad) + "\n")
    expected = splits_of(three_parts(frame[~frame.long_key.isin(bad)]))
    assert written("geoclap", table, tmp_path / "bad.csv") == expected


@pytest.mark.parametrize("n", [0, 1, 2, 17, 1000])
def test_samples_are_those_of_pandas(n: int) -> None:
    frame = pandas.DataFrame({"number": range(n)})
    assert sample(range(n), n // 2, 7) == frame.sample(n=n // 2, random_state=7).number.tolist()


@pytest.mark.parametrize(
    ("protocol", "content", "words"),
    [
        ("standard", "key,longitude,latitude\n1,2,3\n", "protocol standard has no split of its own"),
        ("geoclap", "key,longitude,latitude\n1,2,3\n", "no column 'mp3samplerate'"),
        ("geoclap", "key,mp3samplerate\n1,fast\n", "mp3samplerate must be a number, got 'fast' for key 1"),
        ("geoclap", "key,mp3samplerate\n1,8000\n", "leaves out all 1 rows"),
        ("psm", "key,longitude,latitude,mp3samplerate\n1,200,3,44100\n", "key 1 has no longitude and latitude"),
        ("khdlr", "key,longitude\na,1\n", "splits by keys that are numbers"),
    ],
)
def test_tables_that_a_protocol_cannot_split_are_refused(
    protocol: str, content: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(UserError, match=words):
        write_split(SplitOptions(protocol, tmp_path / "metadata.csv", tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


def test_a_row_that_no_build_takes_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metadata.csv").write_text("key,longitude,latitude\n11,1,1\n11,1,1\n,2,2\n12,3,3\n")
    assert written("khdlr", tmp_path / "metadata.csv") == {"11": "train", "12": "test"}
    warnings = capsys.readouterr().err.splitlines()
    assert [words.partition("warning: ")[2] for words in warnings] == [
        "line 3 has key 11 of an earlier row and is left out",
        "line 4 has no key and is left out",
    ]


def test_numbers_are_read_as_pandas_reads_them() -> None:
    assert math.isnan(CorpusRow("1", {"mp3samplerate": ""}, None).number("mp3samplerate"))
