"""Kinds of input that come from sets of others: tars, the JSON inside them, Parquet files and cards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import webdataset
from foreign_sets import HUB_CARD, made_pair, usual_members, write_parquet, write_tars
from fuzz.campaign import Family
from fuzz.mutations import Mutation, change_bytes, change_json, change_text

from shards.errors import RejectedPair, UserError
from shards.sources.source import SourceOptions
from shards.unpacking.licences import licence_in_card
from shards.unpacking.parquet_source import ParquetSource
from shards.unpacking.tar_source import WebDatasetSource


def _tar(suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return write_tars(folder / "set", {"train": 3}, seconds=0.2, suffix=suffix) / f"train-000000{suffix}"

    return write


def _list_tars(file: Path) -> None:
    """Unpacks a folder of tars, and lists it."""
    source = WebDatasetSource(SourceOptions(file.parent, tars=(str(file.parent),), unpacked=file.parent / "unpacked"))
    source.prepare(1)
    source.list_pairs()


def _json_of_a_tar(folder: Path) -> Path:
    (folder / "set").mkdir()
    path = folder / "set" / "about.txt"
    path.write_text(json.dumps(usual_members(made_pair(1, seconds=0.2))["json"]))
    return path


def _list_tar_with(file: Path) -> None:
    members = usual_members(made_pair(1, seconds=0.2))
    with webdataset.TarWriter(str(file.parent / "train-0.tar")) as tar:
        tar.write({"__key__": "a", **members, "json": file.read_bytes()})
    _list_tars(file)


def _parquet(folder: Path) -> Path:
    root = write_parquet(folder / "set", {"train": 4})
    return root / "data" / "train-00000-of-00001.parquet"


def _list_parquet(file: Path) -> None:
    root = file.parents[1]
    source = ParquetSource(SourceOptions(root, unpacked=root / "unpacked"))
    source.prepare(1)
    source.list_pairs()


def _card(folder: Path) -> Path:
    (folder / "README.md").write_text(HUB_CARD)
    return folder / "README.md"


def _family(name: str, write: Callable[[Path], Path], use: Callable[[Path], object], change: Mutation) -> Family:
    return Family(name, write, use, change, (UserError, RejectedPair))


FAMILIES = [
    _family("foreign tar", _tar(".tar"), _list_tars, change_bytes),
    _family("foreign tar.gz", _tar(".tar.gz"), _list_tars, change_bytes),
    _family("json of a foreign tar", _json_of_a_tar, _list_tar_with, change_json),
    _family("parquet of the hub", _parquet, _list_parquet, change_bytes),
    _family("card of a set", _card, licence_in_card, change_text),
]
