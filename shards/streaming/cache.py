"""Shards on a local disk, fetched when they are first needed and bounded in size, for all processes of a machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from shards.atomic_files import write_text_atomically
from shards.errors import UnreadableShard, UserError
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.streaming.fetching import RetryRule, ShardSource, UnfetchableError
from shards.streaming.index import FileChecksum, ShardIndex, index_path

BYTES_PER_GB = 10**9
_REMOTE_NAME = re.compile(r"[A-Za-z0-9_]+-\d{6}\.tar")
_PARTIAL_NAME = re.compile(r"\.(?P<tar>.+\.tar)\.(?P<bytes>\d+)\.partial")
_OPEN_ATTEMPTS = 20
_ROOM_WAIT_SECONDS = 0.1
_PARALLEL_INDEXES = 8


def default_cache_folder() -> Path:
    """`earshot/shards` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earshot" / "shards"


@dataclass(frozen=True)
class StreamSettings:
    """How a shard set that is not read in place is fetched and kept.

    Attributes:
        cache_folder: where shards are kept, best on a local disk; None keeps those of a URL in
            `default_cache_folder()` and reads those of a folder where they are.
        cache_bytes: the tars kept there, of all shard sets together, never take more.
        allow_pipe: whether a `pipe:` location may run its shell command.
        retry: how downloads are tried again.
    """

    cache_folder: Path | None = None
    cache_bytes: int = 50 * BYTES_PER_GB
    allow_pipe: bool = False
    retry: RetryRule = field(default_factory=RetryRule)


class ShardCache:
    """The fetched shards of one set, `cache_folder/<id>/`, where the id follows from the set's manifest.

    Processes on one machine share it through file locks: a shard is fetched by one while the others wait for it.
    Before a download, those tars leave that were opened longest ago, of whichever set; a process that reads one
    keeps it open until it opens another shard. An interrupted download resumes, also in another process.

    Args:
        source: where the set lies.
        manifest_text: its `manifest.json`.
        manifest: the same, parsed.
        settings: the folder and its bound.

    Raises:
        UserError: the manifest has names that no build gives, or the folder can't be written.
    """

    def __init__(self, source: ShardSource, manifest_text: str, manifest: Manifest, settings: StreamSettings) -> None:
        self.source = source
        self.settings = settings
        self.root = settings.cache_folder or default_cache_folder()
        self.folder = self.root / hashlib.sha256(manifest_text.encode()).hexdigest()[:16]
        self._shards = {shard.name: shard for shard in manifest.shards}
        for name in self._shards:
            # Names come from afar and become paths here, and words of a command.
            if not _REMOTE_NAME.fullmatch(name):
                raise UserError(
                    f"the manifest of {source.location} names a shard {name!r}, it must be <split>-<number>.tar; "
                    "build the shards again"
                )
        with _writing(self.root):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(_lock_path(self.folder / MANIFEST_NAME)):
                write_text_atomically(self.folder / MANIFEST_NAME, manifest_text)
        self._ahead: _Ahead | None = None

    def __getstate__(self) -> dict[str, object]:
        # Another process starts its own thread when it needs one.
        return {**self.__dict__, "_ahead": None}

    @property
    def most_bytes(self) -> int:
        """The bound on all tars in the cache."""
        return self.settings.cache_bytes

    def open(self, name: str) -> BinaryIO:
        """A shard, fetched if it is not here, open for reading.

        Raises:
            UnreadableShard: it can't be fetched.
            UserError: the cache is too small for it, or its disk is full.
        """
        shard, path = self._shards[name], self.folder / name
        for _ in range(_OPEN_ATTEMPTS):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError:
                self.fetch(name)
                continue
            if os.fstat(file.fileno()).st_size == shard.bytes:
                with suppress(FileNotFoundError):  # evicted meanwhile: the open file stays good
                    os.utime(path)
                return file
            file.close()
            path.unlink(missing_ok=True)
        raise UserError(
            f"shard {path} is thrown out of the cache as fast as it is fetched; raise data.cache_gb, or give each run "
            "on this machine its own data.cache_dir"
        )

    def fetch(self, name: str) -> None:
        """Brings a shard into the cache unless it is there; waits where another process does so.

        Raises:
            UnreadableShard, UserError: as `open`.
        """
        shard, path = self._shards[name], self.folder / name
        partial = path.with_name(f".{name}.{shard.bytes}.partial")
        failure, asked_ns = path.with_name(f".{name}.failure"), time.time_ns()
        with _locked(_lock_path(path)):
            if path.exists():
                return
            if failure.exists() and failure.stat().st_mtime_ns >= asked_ns:
                # Whoever had the lock tried for long and in vain while this process waited.
                raise self._unreadable(name, name, failure.read_text(encoding="utf-8"))
            with _writing(self.root):
                self._make_room(shard, partial)
            try:
                self.source.fetch(name, partial, FileChecksum(shard.bytes, shard.sha256))
            except UnfetchableError as error:
                failure.write_text(str(error), encoding="utf-8")
                raise self._unreadable(name, name, error) from error
            os.replace(partial, path)
            failure.unlink(missing_ok=True)

    def fetch_indexes(self, names: Sequence[str]) -> dict[str, UnreadableShard]:
        """Brings the indexes of shards, several at once; the errors of those that can't be had, by shard."""
        faults: dict[str, UnreadableShard] = {}

        def fetch(name: str) -> None:
            try:
                self.fetch_index(name)
            except UnreadableShard as error:
                faults[name] = error

        with ThreadPoolExecutor(_PARALLEL_INDEXES) as pool:
            list(pool.map(fetch, names))
        return faults

    def fetch_index(self, name: str) -> None:
        """Brings the index of a shard unless it is there; indexes are small and stay.

        Raises:
            UnreadableShard: it can't be fetched, or what comes is no index.
        """
        path = index_path(self.folder / name)
        if path.is_file():
            return
        with _locked(_lock_path(path)):
            if path.is_file():
                return
            try:
                text = self.source.read_bytes(path.name).decode("utf-8")
                ShardIndex.from_record(json.loads(text))
            except (UnfetchableError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._unreadable(name, path.name, error) from error
            with _writing(self.root):
                write_text_atomically(path, text)

    def prefetch(self, names: Sequence[str]) -> None:
        """Has shards fetched in the background; whoever opens one that fails meets its error then."""
        missing = [name for name in names if not (self.folder / name).exists()]
        if missing and self._ahead is None:
            self._ahead = _Ahead(self)
        if self._ahead:
            self._ahead.add(missing)

    def _unreadable(self, shard: str, file: str, error: Exception | str) -> UnreadableShard:
        return UnreadableShard(
            f"shard {shard} can't be read: {self.source.shown(file)} could not be fetched ({error}); mend it there, or "
            "go on without such shards by --data.skip-bad-shards",
            shard=shard,
        )

    def _make_room(self, shard: ShardEntry, partial: Path) -> None:
        """Evicts until `shard` fits, and marks its bytes as taken by making `partial`."""
        limit = self.settings.cache_bytes
        if shard.bytes > limit:
            raise UserError(
                f"data.cache_gb must be at least {shard.bytes / BYTES_PER_GB:.3g} to hold shard {shard.name}, got "
                f"{limit / BYTES_PER_GB:.3g}"
            )
        while True:
            with _locked(self.root / ".lock"):
                excess = _bytes_taken(self.root, besides=partial) + shard.bytes - limit
                if excess <= 0 or _evict(self.root, excess, besides=partial):
                    partial.touch()
                    return
            # All that is there is being downloaded by others, and may leave when it has come.
            time.sleep(_ROOM_WAIT_SECONDS)


def block_bytes_at_most(shards: Sequence[ShardEntry], block_samples: int) -> int:
    """Bytes that no block's shards exceed, whichever order an epoch has; see `shards.streaming.order.epoch_order`."""
    samples, num_shards = 0, 0
    for shard in sorted(shards, key=lambda shard: shard.num_samples):
        if samples >= block_samples:
            break
        samples, num_shards = samples + shard.num_samples, num_shards + 1
    return sum(sorted((shard.bytes for shard in shards), reverse=True)[:num_shards])


class _Ahead:
    """A thread that fetches shards before they are needed."""

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        self._seen: set[str] = set()
        self._names: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._run, name="shard-prefetch", daemon=True).start()

    def add(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._seen:
                self._seen.add(name)
                self._names.put(name)

    def _run(self) -> None:
        while True:
            name = self._names.get()
            # What fails stays seen: its reader tries again, this thread doesn't.
            with suppress(UserError, OSError):
                self._cache.fetch(name)
                self._seen.discard(name)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"data.cache_dir {root} can't be written: {error.strerror}; name a folder on a local disk with room in it"
        ) from error


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file's lock against other processes and threads; a process that dies gives its locks back."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bytes_taken(root: Path, *, besides: Path) -> int:
    """Bytes of the tars under `root`, downloads under way at their full size."""
    total = 0
    for path in root.glob("*/*.tar"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    partials = ((path, _PARTIAL_NAME.fullmatch(path.name)) for path in root.glob("*/.*.partial") if path != besides)
    return total + sum(int(match["bytes"]) for _, match in partials if match)


def _evict(root: Path, excess: int, *, besides: Path) -> bool:
    """Removes abandoned downloads, then the tars opened longest ago, until `excess` bytes are free; if that can be."""
    for path in root.glob("*/.*.partial"):
        match = _PARTIAL_NAME.fullmatch(path.name)
        if excess > 0 and match and path != besides and _remove_abandoned(path, match["tar"]):
            excess -= int(match["bytes"])
    tars = []
    for path in root.glob("*/*.tar"):
        with suppress(FileNotFoundError):
            status = path.stat()
            tars.append((status.st_mtime_ns, status.st_size, path))
    for _, size, path in sorted(tars):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
    return excess <= 0


def _remove_abandoned(partial: Path, tar_name: str) -> bool:
    with _lock_path(partial.with_name(tar_name)).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        partial.unlink(missing_ok=True)
        return True
