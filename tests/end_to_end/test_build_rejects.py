"""Rejected pairs that are too many end a build: a large corpus early, a small one when its list is complete."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from shard_commands import files_of

from shards.building import rejected_list
from shards.building.build import build
from shards.building.planning import BuildOptions
from shards.errors import UserError


def options_for(root: Path, out: Path, **more: Any) -> BuildOptions:
    return BuildOptions(
        **{"source": "recordings", "root": root, "out": out, "workers": 1, "samples_per_shard": 5, **more}
    )


def listed(out: Path) -> list[str]:
    with (out / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return [row["key"] for row in csv.DictReader(file)]


def test_a_large_corpus_stops_early_and_goes_on_with_a_larger_share(
    small_corpus: Path, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_list, "JUDGED_EARLY_FROM_ROWS", 44)
    out = tmp_path / "set"
    # Two rows are rejected as they are listed; the third in a shard makes them too many.
    with pytest.raises(
        UserError, match=r"3 of 44 pairs are rejected so far, .*0\.05 allows, so the build stopped early"
    ):
        build(options_for(small_corpus, out, max_rejected=0.05))
    assert len(listed(out)) == 3
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert 1 <= len(finished) < 9
    assert not list(out.rglob("*.partial"))
    assert not (out / "manifest.json").exists()
    # Started again it stops at once …
    with pytest.raises(UserError, match="rejected so far"):
        build(options_for(small_corpus, out, max_rejected=0.05))
    assert {path.name for path in out.glob("*.tar")} == set(finished)
    # … and with a larger share it continues to the same bytes.
    build(options_for(small_corpus, out, max_rejected=0.1))
    assert files_of(out) == files_of(small_shards)
    assert all((out / name).stat().st_mtime_ns == time_ns for name, time_ns in finished.items())


def test_a_small_corpus_is_read_to_the_end(small_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"4 of 44 pairs are rejected \(9\.1%\), above"):
        build(options_for(small_corpus, tmp_path / "set", max_rejected=0.05))
    assert sorted(listed(tmp_path / "set")) == ["140", "141", "142", "143"]
    assert len(list((tmp_path / "set").glob("*.tar"))) == 9
