"""The open tars of a process: a bounded number, opened in place or through a cache."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from shards.errors import UnreadableShard
from shards.streaming.cache import ShardCache
from shards.streaming.entries import SampleEntry
from shards.streaming.index import entries_in_tar

MAX_OPEN_TARS = 64


class TarFiles:
    """The open tars of one process; the least recently used one is closed first.

    Args:
        cache: fetches missing tars, None if they are read in place.
    """

    def __init__(self, cache: ShardCache | None = None) -> None:
        self._cache = cache
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()
        self._clips: dict[Path, dict[str, SampleEntry]] = {}

    def get(self, path: Path) -> BinaryIO:
        """The tar at `path`, open for reading.

        Raises:
            UnreadableShard: it can't be opened.
        """
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= MAX_OPEN_TARS:
            self._open.popitem(last=False)[1].close()
        if self._cache and path.parent == self._cache.folder:
            self._close_evicted()
            self._open[path] = self._cache.open(path.name)
            return self._open[path]
        try:
            self._open[path] = path.open("rb", buffering=0)
        except OSError as error:
            raise UnreadableShard(
                f"shard {path} can't be read: {error.strerror}; copy or build it again", shard=path.name
            ) from error
        return self._open[path]

    def fetch_index(self, name: str) -> bool:
        """Fetches the index of a tar if tars are read through a cache; whether they are.

        Raises:
            UnreadableShard: it can't be fetched.
        """
        if self._cache:
            self._cache.fetch_index(name)
        return self._cache is not None

    def clips(self, path: Path) -> dict[str, SampleEntry]:
        """The listening clips in the tar at `path`, by key; empty if the tar does not exist."""
        if path not in self._clips:
            entries = entries_in_tar(path) if path.is_file() else ()
            self._clips[path] = {entry.key: entry for entry in entries}
        return self._clips[path]

    def _close_evicted(self) -> None:
        # The space of an evicted tar is freed only when no process has it open.
        for path in [path for path, file in self._open.items() if not os.fstat(file.fileno()).st_nlink]:
            self._open.pop(path).close()

    def __reduce__(self) -> tuple[type[TarFiles], tuple[ShardCache | None]]:
        # Another process opens its own.
        return TarFiles, (self._cache,)
