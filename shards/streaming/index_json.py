"""Indexes of format version 1: a JSON file beside each tar. They are read, and no longer written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.checksums import FileChecksum
from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.records import MOST_BYTES, json_as, read_bytes_within, record_as, shown
from shards.streaming.entries import SampleEntry

JSON_SUFFIX = ".index.json"
REMEDY = "copy the shard set again with its indexes, or build the shards again"
_VERSION = 1


@dataclass(frozen=True)
class JsonIndex:
    """The samples of one tar, in order.

    Attributes:
        shard: file name of the tar.
        samples: one entry per sample.
        previews: checksum of the tar of listening clips with the same name in `previews/`, None if there is none.
    """

    shard: str
    samples: tuple[SampleEntry, ...]
    previews: FileChecksum | None = None

    @classmethod
    def load(cls, path: Path, entry: ShardEntry) -> JsonIndex:
        """Reads the index of a shard.

        Raises:
            UserError: the file can't be read, or as `parse`.
        """
        return cls.parse(read_bytes_within(path, MOST_BYTES, REMEDY), str(path), entry)

    @classmethod
    def parse(cls, text: bytes, where: str, entry: ShardEntry) -> JsonIndex:
        """Reads the text of an index.

        Args:
            text: the JSON.
            where: the file it was read from, for messages.
            entry: of the shard in the manifest.

        Raises:
            UserError: it is no index, of another format version or tar, or points beyond the tar.
        """
        record = json_as(dict[str, Any], text, where, REMEDY)
        version = record.get("format_version")
        if version != _VERSION:
            raise UserError(f"{where}: format_version is {shown(version)}, not {_VERSION}; {REMEDY}")
        index = record_as(cls, record, where, REMEDY)
        if index.shard != entry.name:
            raise UserError(f"{where} is the index of {shown(index.shard)}, not of {entry.name}; {REMEDY}")
        for sample in index.samples:
            end = sample.offset + sample.bytes
            is_within = all(
                sample.offset <= start and start + length <= end for start, length in sample.members.values()
            )
            if end > entry.bytes or not is_within:
                raise UserError(
                    f"{where}: sample {sample.key} is not within the {entry.bytes:,} bytes of the tar; {REMEDY}"
                )
        return index
