"""Packs one shard in a worker process: reads its pairs, writes its tar, reports progress, and leaves a record."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic_files import write_text_atomically
from shards.building.planning import ShardPlan
from shards.building.writing import ShardWriter
from shards.child_processes import end_with_parent
from shards.decoding.image_hash import hash_image
from shards.errors import RejectedPair, failures_as_rejections
from shards.manifest import ShardEntry
from shards.records import json_as
from shards.schema import Pair, Rejection, Sample
from shards.sources.source import Source

CLIPPED_SHARE = 0.001
"""Of the samples of a recording, above which it counts as clipped."""

WORK_FOLDER = ".build"
DECODERS_LOG = "decoders.log"

SINGLE_THREADED = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
        "GDAL_NUM_THREADS",
    ),
    "1",
)
"""Environment of the workers: one process per core, one thread per process."""


class BuildStoppedError(Exception):
    """The build is stopping; the shard in progress is dropped and rebuilt next time."""


@dataclass
class Tally:
    """Statistics over samples; the integer sums are exact, so they don't depend on the order of the shards.

    Attributes:
        seconds_of_sound: total duration of the spectrograms, as far as known.
        silent: silent recordings.
        repeated_to_length: recordings shorter than 128 frames.
        shortened: recordings of which only parts were used.
        clipped: recordings of which more than `CLIPPED_SHARE` of the samples are at full scale or beyond.
        clipped_samples: number of those samples.
        sound_samples: number of all decoded samples, of all channels.
        silent_seconds: total duration of silent stretches.
        opposite_phase: recordings of two channels that cancel each other, of which one was used.
        one_of_many_channels: recordings of four or more channels, of which one was used.
        integer_scale: floating-point recordings that were divided to a full scale of ±1.
        num_bytes: number of bytes in all spectrograms.
        sum_of_bytes: sum of the byte values.
        sum_of_squares: sum of the squared byte values.
    """

    seconds_of_sound: float = 0.0
    silent: int = 0
    repeated_to_length: int = 0
    shortened: int = 0
    clipped: int = 0
    clipped_samples: int = 0
    sound_samples: int = 0
    silent_seconds: float = 0.0
    opposite_phase: int = 0
    one_of_many_channels: int = 0
    integer_scale: int = 0
    num_bytes: int = 0
    sum_of_bytes: int = 0
    sum_of_squares: int = 0

    def add(self, sample: Sample) -> None:
        """Adds a sample to the statistics."""
        histogram = np.bincount(sample.spectrogram.ravel(order="K"), minlength=256)
        values = np.arange(256, dtype=np.int64)
        self.seconds_of_sound += sample.used_seconds
        self.silent += sample.is_silent
        self.repeated_to_length += sample.was_repeated
        self.shortened += sample.was_shortened
        if sample.sound is not None:
            self.clipped += sample.sound.clipped_share > CLIPPED_SHARE
            self.clipped_samples += sample.sound.num_clipped
            self.sound_samples += sample.sound.num_samples
            self.silent_seconds += sample.sound.silent_share * sample.used_seconds
            self.opposite_phase += sample.sound.is_opposite_phase
            self.one_of_many_channels += sample.sound.is_one_of_many
            self.integer_scale += sample.sound.is_integer_scale
        self.num_bytes += sample.spectrogram.size
        self.sum_of_bytes += int(histogram @ values)
        self.sum_of_squares += int(histogram @ values**2)

    def merge(self, other: Tally) -> None:
        """Adds the statistics of another tally."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True)
class ShardRecord:
    """The record of a finished shard in `.build/`, so that a resumed build can skip the shard.

    Attributes:
        entry: the shard's entry in the manifest.
        rejected: its rejected pairs.
        tally: statistics of its samples.
        images: hash of each sample's image, as text, by key and in the order of the tar.
    """

    entry: ShardEntry
    rejected: tuple[Rejection, ...]
    tally: Tally
    images: dict[str, str]

    def to_json(self) -> str:
        """Serialises the record."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ShardRecord:
        """Restores a record that `to_json` wrote."""
        return json_as(cls, text, "the record of a finished shard")


@dataclass(frozen=True)
class Progress:
    """A worker's message that it has started (`is_done` False) or finished a pair.

    Attributes:
        process: the worker's process id.
        key: the pair's key.
        is_done: whether the pair is finished.
        used_seconds: seconds of sound decoded, 0 if the source has no recordings.
        busy_seconds: seconds spent on reading and writing the pair.
    """

    process: int
    key: str
    is_done: bool = False
    used_seconds: float = 0.0
    busy_seconds: float = 0.0


@dataclass(frozen=True)
class Probe:
    """Time and space used by a few pairs, from which the whole build is estimated."""

    num_pairs: int
    used_seconds: float
    busy_seconds: float
    stored_bytes: int


_channel: tuple[SimpleQueue[Progress], ctypes.c_bool] | None = None
"""In a worker process: the progress queue and the stop flag, which has no lock that a dead process could hold."""


def start_worker(queue: SimpleQueue[Progress], stop: ctypes.c_bool, folder: Path) -> None:
    """Initializes a worker: it ignores Ctrl-C, which the main process handles, and ends when that process is gone.

    Messages of the decoders' C libraries about bad files are redirected from the terminal to a file in `.build/`.
    """
    global _channel
    _channel = queue, stop
    with (folder / WORK_FOLDER / DECODERS_LOG).open("ab") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    import cv2

    cv2.setNumThreads(1)


def _report(progress: Progress) -> None:
    """Sends a message to the main process; raises BuildStoppedError if the build is stopping."""
    if _channel is not None:
        queue, stop = _channel
        if stop.value:
            raise BuildStoppedError
        queue.put(progress)


def record_path(folder: Path, shard_name: str) -> Path:
    """Path of a finished shard's record."""
    return folder / WORK_FOLDER / f"{shard_name}.json"


def pack_shard(source: Source, shard: ShardPlan, folder: Path, *, with_previews: bool) -> ShardRecord:
    """Reads the pairs of a shard and writes the shard, its index, its previews and, last, its record.

    Raises:
        OSError: the folder can't be written to, for example because the disk is full.
        MemoryError: out of memory; the message names the pair.
        BuildStoppedError: the build is stopping.
    """
    rejected: list[Rejection] = []
    images: dict[str, str] = {}
    tally = Tally()
    mel_bands = source.settings.mel_bands
    with ShardWriter(folder, shard.name, with_previews=with_previews, mel_bands=mel_bands) as writer:
        for pair in shard.pairs:
            _report(Progress(os.getpid(), pair.key))
            started, used_seconds = time.perf_counter(), 0.0
            try:
                sample = read_pair(source, pair)
            except RejectedPair as rejection:
                detail = rejection.detail.encode("utf-8", "backslashreplace").decode("utf-8")
                rejected.append(Rejection(pair.key, rejection.reason, detail))
            else:
                writer.add(sample)
                tally.add(sample)
                images[sample.key] = hash_image(sample.image).to_text()
                used_seconds = sample.used_seconds if source.has_recordings else 0.0
            _report(Progress(os.getpid(), pair.key, True, used_seconds, time.perf_counter() - started))
        entry = writer.finish()
    record = ShardRecord(entry, tuple(rejected), tally, images)
    write_text_atomically(record_path(folder, shard.name), record.to_json())
    return record


def read_pair(source: Source, pair: Pair) -> Sample:
    """Reads one pair.

    Raises:
        RejectedPair: the pair can't be used.
        MemoryError: out of memory; the message names the pair.
    """
    try:
        with failures_as_rejections():
            return source.read(pair)
    except MemoryError as error:
        raise MemoryError(f"key {pair.key}{f', {error}' if str(error) else ''}") from error


def probe_pairs(source: Source, pairs: tuple[Pair, ...]) -> Probe:
    """Reads a few pairs and measures time and space; the first is read twice, because it also loads the libraries."""
    used_seconds, stored_bytes = 0.0, 0
    started = 0.0
    for number, pair in enumerate((pairs[0], *pairs)):
        if number == 1:
            started = time.perf_counter()
        try:
            sample = read_pair(source, pair)
        except RejectedPair:
            continue
        if number >= 1:
            used_seconds += sample.used_seconds
            stored_bytes += _stored_bytes(sample)
    return Probe(len(pairs), used_seconds, time.perf_counter() - started, stored_bytes)


def _stored_bytes(sample: Sample) -> int:
    """Bytes of a sample on disk, including about 3 KB for headers, padding, metadata and its index entry."""
    return len(sample.image) + sample.spectrogram.size + len(sample.preview or b"") + 3 * 1024


def read_record(folder: Path, shard: ShardPlan) -> ShardRecord | None:
    """The record of a finished shard in the folder, None if the shard must be built."""
    try:
        record: Any = ShardRecord.from_json(record_path(folder, shard.name).read_text(encoding="utf-8"))
        size = (folder / shard.name).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if size == record.entry.bytes and record.entry.index else None
