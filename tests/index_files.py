"""Indexes of shard sets as files: their paths, other contents that the manifest agrees with, and format version 1."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards.checksums import checksum_of
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.streaming.index import index_name, load_index, previews_checksum


def entry_of(folder: Path, name: str) -> ShardEntry:
    """The entry of a tar in the manifest of its set."""
    return next(entry for entry in Manifest.load(folder).shards if entry.name == name)


def index_of(tar_path: Path) -> Path:
    """The index beside a tar of a set of the present format version."""
    return tar_path.with_name(f"{tar_path.stem}.index.npy")


def encoded(records: NDArray[np.void]) -> bytes:
    """Records as a npy file."""
    file = io.BytesIO()
    np.save(file, records, allow_pickle=False)
    return file.getvalue()


def replace_index(folder: Path, entry: ShardEntry, content: bytes) -> ShardEntry:
    """Writes another index for a tar; the entry that agrees with it."""
    (folder / index_name(entry)).write_bytes(content)
    return dataclasses.replace(entry, index=checksum_of(content))


def change_records(folder: Path, entry: ShardEntry, change: Callable[[NDArray[np.void]], None]) -> ShardEntry:
    """Changes the records of a tar's index; the entry that agrees with them."""
    records = np.load(folder / index_name(entry))
    change(records)
    return replace_index(folder, entry, encoded(records))


def to_version_1(folder: Path) -> None:
    """Turns a set into one of format version 1."""
    manifest = Manifest.load(folder)
    for entry in manifest.shards:
        samples = [dataclasses.asdict(sample) for sample in load_index(folder, entry)]
        previews = previews_checksum(folder, entry)
        record = {"format_version": 1, "shard": entry.name, "previews": previews and dataclasses.asdict(previews)}
        path = folder / index_name(entry)
        path.with_suffix(".json").write_text(json.dumps({**record, "samples": samples}))
        path.unlink()
    stated = json.loads((folder / MANIFEST_NAME).read_text())
    for shard in stated["shards"]:
        del shard["index"], shard["previews"]
    (folder / MANIFEST_NAME).write_text(json.dumps({**stated, "format_version": 1}))
