"""A bounded cache of remote shards on the local disk, shared by all processes of a machine."""

from __future__ import annotations

import hashlib
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

from shards.atomic_files import write_bytes_atomically, write_text_atomically
from shards.checksums import FileChecksum
from shards.errors import UnreadableShard, UserError
from shards.locks import lock
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.streaming.fetching import RetryRule, ShardSource, UnfetchableError
from shards.streaming.index import check_index, index_name

BYTES_PER_GB = 10**9
_PARTIAL_NAME = re.compile(r"\.(?P<tar>.+\.tar)\.(?P<bytes>\d+)\.partial")
_OPEN_ATTEMPTS = 20
_ROOM_WAIT_SECONDS = 0.1
_PARALLEL_INDEXES = 8


def default_cache_folder() -> Path:
    """`earshot/shards` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earshot" / "shards"


@dataclass(frozen=True)
class StreamSettings:
    """How a remote shard set is fetched and cached.

    Attributes:
        cache_folder: the cache, preferably on a local disk; None caches shards of a URL in `default_cache_folder()` and
            reads shards in a folder in place.
        cache_bytes: maximum total size of the cached tars of all shard sets.
        allow_pipe: whether a `pipe:` location may run its shell command.
        retry: how failed downloads are retried.
    """

    cache_folder: Path | None = None
    cache_bytes: int = 50 * BYTES_PER_GB
    allow_pipe: bool = False
    retry: RetryRule = field(default_factory=RetryRule)


class ShardCache:
    """The cached shards of one set, in `cache_folder/<id>/`; the id is a hash of the set's manifest.

    Processes on one machine share the cache through file locks: one fetches a shard while the others wait for it.
    Before a download, the least recently opened tars of any set are evicted; a process that reads a tar keeps it open
    until it opens another shard. An interrupted download can be resumed by any process.

    Args:
        source: location of the set.
        manifest_text: its `manifest.json`.
        manifest: the parsed manifest.
        settings: the cache folder and its size limit.

    Raises:
        UserError: the folder can't be written.
    """

    def __init__(self, source: ShardSource, manifest_text: str, manifest: Manifest, settings: StreamSettings) -> None:
        self.source = source
        self.settings = settings
        self.root = settings.cache_folder or default_cache_folder()
        self.folder = self.root / hashlib.sha256(manifest_text.encode()).hexdigest()[:16]
        self._shards = {shard.name: shard for shard in manifest.shards}
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
        """The size limit of the cache."""
        return self.settings.cache_bytes

    def open(self, name: str) -> BinaryIO:
        """Opens a shard for reading, and fetches it first if it isn't cached.

        Raises:
            UnreadableShard: the shard can't be fetched.
            UserError: the cache is too small for it, or the disk is full.
        """
        shard, path = self._shards[name], self.folder / name
        for _ in range(_OPEN_ATTEMPTS):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError:
                self.fetch(name)
                continue
            if os.fstat(file.fileno()).st_size == shard.bytes:
                with suppress(FileNotFoundError):  # evicted in the meantime; the open file stays readable
                    os.utime(path)
                return file
            file.close()
            path.unlink(missing_ok=True)
        raise UserError(
            f"shard {path} is evicted from the cache as fast as it is fetched; raise data.cache_gb, or give each run "
            "on this machine its own data.cache_dir"
        )

    def fetch(self, name: str) -> None:
        """Fetches a shard unless it is cached; waits if another process is fetching it.

        Raises:
            UnreadableShard, UserError: as `open`.
        """
        shard, path = self._shards[name], self.folder / name
        partial = path.with_name(f".{name}.{shard.bytes}.partial")
        failure = path.with_name(f".{name}.failure")
        earlier = _version(failure)
        with _locked(_lock_path(path)):
            if path.exists():
                return
            if _version(failure) not in (None, earlier):
                # While this process waited, the holder of the lock exhausted its retries.
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
        """Fetches the missing indexes of shards in parallel; returns the errors of those that failed, by shard."""
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
        """Fetches the index of a shard unless it is cached; indexes are small and never evicted.

        Raises:
            UnreadableShard: it can't be fetched, or the fetched file is not an index.
        """
        entry = self._shards[name]
        path = self.folder / index_name(entry)
        if path.is_file():
            return
        with _locked(_lock_path(path)):
            if path.is_file():
                return
            try:
                content = self.source.read_bytes(path.name)
                check_index(content, entry)
            except (UnfetchableError, ValueError) as error:
                raise self._unreadable(name, path.name, error) from error
            with _writing(self.root):
                write_bytes_atomically(path, content)

    def prefetch(self, names: Sequence[str]) -> None:
        """Fetches shards in the background; errors are raised when a failed shard is opened."""
        missing = [name for name in names if not (self.folder / name).exists()]
        if missing and self._ahead is None:
            self._ahead = _Ahead(self)
        if self._ahead:
            self._ahead.add(missing)

    def _unreadable(self, shard: str, file: str, error: Exception | str) -> UnreadableShard:
        return UnreadableShard(
            f"shard {shard} can't be read: {self.source.shown(file)} could not be fetched ({error}); repair it there, "
            "or continue without unreadable shards with --data.skip-bad-shards",
            shard=shard,
        )

    def _make_room(self, shard: ShardEntry, partial: Path) -> None:
        """Evicts shards until `shard` fits, and reserves its space by creating `partial`."""
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
            # The rest is being downloaded by other processes and can be evicted once it is complete.
            time.sleep(_ROOM_WAIT_SECONDS)


def block_bytes_at_most(shards: Sequence[ShardEntry], block_samples: int) -> int:
    """Upper bound on the size of a block's shards in any epoch; see `shards.streaming.order.epoch_order`."""
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
            # A failed shard stays in `_seen`, so that it is retried by its reader and not by this thread.
            with suppress(UserError, OSError):
                self._cache.fetch(name)
                self._seen.discard(name)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"data.cache_dir {root} can't be written: {error.strerror}; give a folder on a local disk with free space"
        ) from error


def _version(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is written, whatever the clock says; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks a file against other processes and threads; the lock is released if the process dies."""
    with path.open("a") as file:
        lock(file, wait=True)
        yield


def _bytes_taken(root: Path, *, besides: Path) -> int:
    """Total size of the tars under `root`; downloads in progress count with their full size."""
    total = 0
    for path in root.glob("*/*.tar"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    partials = ((path, _PARTIAL_NAME.fullmatch(path.name)) for path in root.glob("*/.*.partial") if path != besides)
    return total + sum(int(match["bytes"]) for _, match in partials if match)


def _evict(root: Path, excess: int, *, besides: Path) -> bool:
    """Removes abandoned downloads, then the least recently opened tars, until `excess` bytes are free.

    Returns:
        Whether enough could be freed.
    """
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
            lock(file)
        except BlockingIOError:
            return False
        partial.unlink(missing_ok=True)
        return True
