"""The interface of a format that shard sets are exported to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.manifest import Manifest, ShardEntry
from shards.streaming.reading import StoredSample


@dataclass(frozen=True)
class Contents:
    """What is exported.

    Attributes:
        manifest: of the set.
        shards: those of the chosen splits, in order.
        metadata: names of the entries of the samples' JSON, with the type that all their values have: "double",
            "int64", "bool", "string", or "json" for anything else.
        has_previews: whether the set has listening clips.
    """

    manifest: Manifest
    shards: tuple[ShardEntry, ...]
    metadata: Mapping[str, str]
    has_previews: bool

    @property
    def splits(self) -> dict[str, int]:
        """The number of samples of each split that is exported."""
        names = dict.fromkeys(shard.split for shard in self.shards)
        return {name: sum(shard.num_samples for shard in self.shards if shard.split == name) for name in names}


class Writer(ABC):
    """Writes an export, shard by shard.

    Args:
        out: its folder.
        contents: what is exported.
    """

    def __init__(self, out: Path, contents: Contents) -> None:
        self.out, self.contents = out, contents

    @abstractmethod
    def has(self, shard: ShardEntry) -> bool:
        """Whether a shard was exported by a command that was interrupted later."""

    @abstractmethod
    def write(self, shard: ShardEntry, samples: Iterator[StoredSample]) -> None:
        """Exports a shard; nothing counts as exported before all of it is written."""

    @abstractmethod
    def finish(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Writes what concerns all shards.

        Args:
            rows: (split, metadata with the key) of each sample, in order.
        """
