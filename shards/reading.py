"""A finished shard set, opened: its samples by number, of which only what is asked for is read."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.imagery import decode_jpeg
from shards.manifest import Manifest
from shards.order import epoch_order
from shards.schema import IMAGE_MEMBER, METADATA_MEMBER, PREVIEW_MEMBER
from shards.shard_index import SampleEntry, build_index_from_tar, load_index, read_frames, read_member
from shards.writing import PREVIEWS_FOLDER

MAX_OPEN_TARS = 64


class TarFiles:
    """The tars that are open now, in one process; the least recently read one is closed first."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()
        self._clips: dict[Path, dict[str, SampleEntry]] = {}

    def get(self, path: Path) -> BinaryIO:
        """The tar at `path`, open for reading.

        Raises:
            UserError: it can't be opened.
        """
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= MAX_OPEN_TARS:
            self._open.popitem(last=False)[1].close()
        try:
            self._open[path] = path.open("rb", buffering=0)
        except OSError as error:
            raise UserError(f"shard {path} can't be read: {error.strerror}; copy or build it again") from error
        return self._open[path]

    def clips(self, path: Path) -> dict[str, SampleEntry]:
        """The listening clips in the tar at `path`, by key; none where there is no such tar."""
        if path not in self._clips:
            entries = build_index_from_tar(path).samples if path.is_file() else ()
            self._clips[path] = {entry.key: entry for entry in entries}
        return self._clips[path]

    def __reduce__(self) -> tuple[type[TarFiles], tuple[()]]:
        # Another process opens its own.
        return TarFiles, ()


@dataclass(frozen=True)
class StoredSample:
    """One pair as it lies in a tar."""

    tar_path: Path
    entry: SampleEntry
    files: TarFiles

    @property
    def key(self) -> str:
        """The pair's key."""
        return self.entry.key

    @property
    def num_frames(self) -> int:
        """Frames of the stored spectrogram."""
        return self.entry.num_frames

    def image_bytes(self) -> bytes:
        """The image as stored, a JPEG."""
        return read_member(self.files.get(self.tar_path), self.entry, IMAGE_MEMBER)

    def image(self) -> NDArray[np.uint8]:
        """The image, (height, width, 3) uint8 RGB.

        Raises:
            UserError: it is not a readable JPEG.
        """
        try:
            return decode_jpeg(self.image_bytes())
        except ValueError as error:
            raise UserError(
                f"the image of sample {self.key} in {self.tar_path} can't be decoded ({error}); "
                "find what is damaged with 'python shards/run.py verify'"
            ) from error

    def frames(self, first_frame: int, num_frames: int) -> NDArray[np.uint8]:
        """Consecutive frames of the spectrogram, (128, num_frames) uint8 as stored."""
        return read_frames(self.files.get(self.tar_path), self.entry, first_frame, num_frames)

    def metadata(self) -> dict[str, Any]:
        """The pair's place, title, creator, licence …"""
        return json.loads(read_member(self.files.get(self.tar_path), self.entry, METADATA_MEMBER))

    def preview(self) -> bytes | None:
        """The listening clip, an MP3, or None where the set has none."""
        path = self.tar_path.parent / PREVIEWS_FOLDER / self.tar_path.name
        entry = self.files.clips(path).get(self.key)
        return None if entry is None else read_member(self.files.get(path), entry, PREVIEW_MEMBER)


class ShardSet:
    """A shard set on a local disk."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._files = TarFiles()
        self._splits: dict[str, _Split] = {}

    @classmethod
    def open(cls, folder: Path) -> ShardSet:
        """Opens the shard set in `folder`.

        Raises:
            UserError: it is none, or of another format version.
        """
        return cls(folder, Manifest.load(folder))

    def num_samples(self, split: str) -> int:
        """Samples of a split."""
        return self.manifest.num_samples(split)

    def sample(self, split: str, number: int) -> StoredSample:
        """The sample that has this number in the split, 0 … num_samples − 1, counted through its shards in order."""
        return self._split(split).sample(number)

    def samples(self, split: str) -> Iterator[StoredSample]:
        """All samples of a split, in the order of the tars."""
        for number in range(self.num_samples(split)):
            yield self.sample(split, number)

    def epoch_order(self, split: str, *, seed: int, epoch: int, block_samples: int) -> NDArray[np.int64]:
        """The numbers of a split's samples in the order of one epoch; see `shards.order.epoch_order`."""
        counts = [shard.num_samples for shard in self.manifest.of_split(split)]
        return epoch_order(counts, seed=seed, epoch=epoch, block_samples=block_samples)

    def check_files(self, split: str) -> None:
        """Checks that every tar of a split is there with the manifest's size and an index that fits it.

        Raises:
            UserError: names the first shard that is missing, truncated, or has another index.
        """
        for shard in self.manifest.of_split(split):
            path = self.folder / shard.name
            if not path.is_file():
                raise UserError(f"shard {path} is missing; copy it again, or build the shards again")
            size = path.stat().st_size
            if size != shard.bytes:
                raise UserError(
                    f"shard {path} has {size} bytes where the manifest says {shard.bytes}: it is truncated or "
                    "replaced; copy it again, or build the shards again"
                )
        _ = self._split(split).entries

    def _split(self, split: str) -> _Split:
        if split not in self._splits:
            self._splits[split] = _Split(self.folder, self.manifest, split, self._files)
        return self._splits[split]


class _Split:
    """The indexes of one split's shards, read when first needed."""

    def __init__(self, folder: Path, manifest: Manifest, split: str, files: TarFiles) -> None:
        self._shards = manifest.of_split(split)
        self._paths = [folder / shard.name for shard in self._shards]
        self._first = np.concatenate([[0], np.cumsum([shard.num_samples for shard in self._shards])]).tolist()
        self._files = files

    @cached_property
    def entries(self) -> list[tuple[SampleEntry, ...]]:
        """The samples of each shard."""
        entries = []
        for shard, path in zip(self._shards, self._paths, strict=True):
            samples = load_index(path).samples
            if len(samples) != shard.num_samples:
                raise UserError(
                    f"the index of {path} has {len(samples)} samples where the manifest says {shard.num_samples}; "
                    "copy the shard set again, or build it again"
                )
            entries.append(samples)
        return entries

    def sample(self, number: int) -> StoredSample:
        if not 0 <= number < self._first[-1]:
            raise IndexError(f"sample {number} of a split of {self._first[-1]}")
        shard = bisect_right(self._first, number) - 1
        return StoredSample(self._paths[shard], self.entries[shard][number - self._first[shard]], self._files)
