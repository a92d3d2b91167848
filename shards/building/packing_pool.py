"""The worker processes of a build: distributes shards, collects progress, and handles failures and shutdown."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from shards.building.packing import (
    SINGLE_THREADED,
    Probe,
    Progress,
    ShardRecord,
    pack_shard,
    probe_pairs,
    start_worker,
)
from shards.building.planning import ShardPlan
from shards.errors import UserError, disk_remedy
from shards.progress import ProgressLine
from shards.schema import Pair
from shards.sources.metadata_table import TABLE_NAME
from shards.sources.source import Source

_POLL_SECONDS = 0.2
_DROPPED_BYTES = 2**16


class PackingPool:
    """Packs shards in parallel; use it as a context manager, which ends the worker processes.

    Args:
        source: the corpus.
        folder: the shard set.
        num_workers: number of worker processes.
        with_previews: whether listening clips are written.

    Attributes:
        used_seconds: seconds of sound read so far.
        busy_seconds: working time summed over the workers, in seconds.
    """

    def __init__(self, source: Source, folder: Path, num_workers: int, *, with_previews: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._source, self._folder, self._with_previews = source, folder, with_previews
        self._queue = context.SimpleQueue()
        self._stop = context.RawValue(ctypes.c_bool, False)
        self._executor = ProcessPoolExecutor(num_workers, context, start_worker, (self._queue, self._stop, folder))
        self._pending: set[Future[ShardRecord]] = set()
        self._key_of_process: dict[int, str] = {}
        self._started = time.monotonic()
        self.used_seconds = self.busy_seconds = 0.0

    def __enter__(self) -> PackingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.value = True
        # Not `future.cancel()`: if the workers have died too, the executor fails on cancelled futures.
        ending = threading.Thread(target=self._executor.shutdown, kwargs={"wait": True, "cancel_futures": True})
        ending.start()
        # Drain the queue until all workers have ended, so that none blocks while reporting progress. Its bytes are
        # dropped unread: a signal may have interrupted `get` within a message, so that the rest begins with none.
        reader = self._queue._reader  # type: ignore[attr-defined]
        while ending.is_alive():
            while reader.poll():
                os.read(reader.fileno(), _DROPPED_BYTES)
            ending.join(_POLL_SECONDS)

    def probe(self, pairs: tuple[Pair, ...]) -> Probe:
        """Reads a few pairs in one worker and measures time and space."""
        with _single_threaded_children(), self._named_failures():
            return self._executor.submit(probe_pairs, self._source, pairs).result()

    def pack(self, shards: list[ShardPlan], progress: ProgressLine) -> Iterator[ShardRecord]:
        """Packs the shards and yields the record of each as it is finished, in any order.

        Raises:
            UserError: the folder can't be written to, memory ran out, or a worker process died.
        """
        self._started = time.monotonic()
        with _single_threaded_children(), self._named_failures():
            for shard in shards:
                self._pending.add(
                    self._executor.submit(
                        pack_shard, self._source, shard, self._folder, with_previews=self._with_previews
                    )
                )
            while self._pending:
                done, self._pending = wait(self._pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                self._read_queue(progress)
                for future in done:
                    yield future.result()

    def _read_queue(self, progress: ProgressLine | None) -> None:
        while not self._queue.empty():
            message: Progress = self._queue.get()
            self._key_of_process[message.process] = message.key
            if message.is_done:
                del self._key_of_process[message.process]
                self.used_seconds += message.used_seconds
                self.busy_seconds += message.busy_seconds
                if progress is not None:
                    progress.advance(1, self._describe_rate())

    def _describe_rate(self) -> str:
        hours = (time.monotonic() - self._started) / 3600
        return f"{self.used_seconds / 3600 / hours:.0f} hours of sound per hour" if self.used_seconds else ""

    @property
    def _table_name(self) -> str:
        """Where a user removes a pair; corpora inside of other files have no table of their own."""
        if self._source.is_packed:
            return "the corpus"
        return str(self._source.options.table or TABLE_NAME)

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            self._read_queue(None)
            keys = sorted(self._key_of_process.values())
            if not keys:
                raise UserError(
                    "a worker process died before it named a pair that it reads: most likely out of memory, or ended "
                    "by another program; finished shards are kept: rerun the command with fewer --workers"
                ) from error
            rows = "that row" if len(keys) == 1 else "the row at fault"
            raise UserError(
                f"a worker process died: out of memory, or a file crashed its decoder (keys being read: "
                f"{', '.join(keys)}); finished shards are kept: rerun the command with fewer --workers, or remove "
                f"{rows} from {self._table_name}"
            ) from error
        except MemoryError as error:
            pair = f" ({error})" if str(error) else ""
            raise UserError(
                f"out of memory while reading a pair{pair}; finished shards are kept: rerun the command with fewer "
                f"--workers, or remove that row from {self._table_name}"
            ) from error
        except OSError as error:
            raise cannot_write(self._folder, error) from error


def cannot_write(folder: Path, error: OSError) -> UserError:
    """The error for a folder that can't be written to, for example because the disk is full."""
    return UserError(
        f"can't write to --out {folder}: {error.strerror}; finished shards are kept: {disk_remedy(error)}, "
        "and rerun the same command"
    )


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Makes processes started within this context single-threaded; libraries read these variables when loaded."""
    before = {name: os.environ.get(name) for name in SINGLE_THREADED}
    os.environ.update(SINGLE_THREADED)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
