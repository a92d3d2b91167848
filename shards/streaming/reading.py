"""Opens a finished shard set: random access to its samples, reading only the requested members and frames."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.decoding.imagery import decode_jpeg
from shards.decoding.jpeg_parts import Box, decode_part, image_shape
from shards.errors import UnreadableShard, UserError
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.schema import IMAGE_MEMBER, MEL_BANDS, PREVIEW_MEMBER, PREVIEWS_FOLDER
from shards.streaming.cache import BYTES_PER_GB, ShardCache, StreamSettings, block_bytes_at_most
from shards.streaming.decoded_images import DecodedImages
from shards.streaming.entries import SampleEntry, read_frames, read_member, read_metadata
from shards.streaming.fetching import ShardSource, UnfetchableError, local_folder
from shards.streaming.index import check_index_size, load_index
from shards.streaming.order import epoch_order
from shards.streaming.tar_files import TarFiles

MAX_HELD_INDEXES = 256
_PARALLEL_CHECKS = 8
"""File systems of clusters answer many questions at once."""


@dataclass(frozen=True)
class StoredSample:
    """One pair stored in a tar."""

    tar_path: Path
    entry: SampleEntry
    files: TarFiles
    mel_bands: int = MEL_BANDS
    decoded: DecodedImages | None = None

    @property
    def key(self) -> str:
        """The pair's key."""
        return self.entry.key

    @property
    def num_frames(self) -> int:
        """The number of frames of the stored spectrogram."""
        return self.entry.num_frames

    def image_bytes(self) -> bytes:
        """The stored JPEG."""
        return read_member(self.files.get(self.tar_path), self.entry, IMAGE_MEMBER)

    def image(self) -> NDArray[np.uint8]:
        """The image, (height, width, 3) uint8 RGB.

        Raises:
            UserError: it is not a readable JPEG.
        """
        return self._pixels(lambda height, width: Box(0, 0, height, width), decode_jpeg)

    def image_part(self, choose: Callable[[int, int], Box]) -> NDArray[np.uint8]:
        """A part of the image, (height, width, 3) uint8 RGB; with restart markers, little more than it is decoded.

        Args:
            choose: maps the height and width of the image to the part.

        Raises:
            UserError: it is not a readable JPEG.
        """
        return self._pixels(choose, lambda jpeg: decode_part(jpeg, choose(*image_shape(jpeg))))

    def _pixels(
        self, choose: Callable[[int, int], Box], decode: Callable[[bytes], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        if self.decoded:
            name, offset = self.tar_path.name, self.entry.offset
            kept = self.decoded.part(name, offset, choose, lambda: self._decode(decode_jpeg))
            if kept is not None:
                return kept
        return self._decode(decode)

    def _decode(self, decode: Callable[[bytes], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        jpeg = self.image_bytes()
        try:
            return decode(jpeg)
        except ValueError as error:
            raise UserError(
                f"the image of sample {self.key} in {self.tar_path} can't be decoded ({error}); "
                "check the set with 'python shards/run.py verify'"
            ) from error

    def frames(self, first_frame: int, num_frames: int) -> NDArray[np.uint8]:
        """Consecutive frames of the spectrogram, (mel_bands, num_frames) uint8 as stored; a shorter one is repeated."""
        stored = min(num_frames, self.num_frames - first_frame)
        frames = read_frames(self.files.get(self.tar_path), self.entry, first_frame, stored, self.mel_bands)
        return frames if stored == num_frames else np.take(frames, np.arange(num_frames) % stored, axis=1)

    def metadata(self) -> dict[str, Any]:
        """The pair's coordinates, title, creator, licence …"""
        return read_metadata(self.files.get(self.tar_path), self.entry)

    def preview(self) -> bytes | None:
        """The listening clip as MP3, or None if there is none."""
        path = self.tar_path.parent / PREVIEWS_FOLDER / self.tar_path.name
        entry = self.files.clips(path).get(self.key)
        return None if entry is None else read_member(self.files.get(path), entry, PREVIEW_MEMBER)


class ShardSet:
    """A shard set, read in place or through a cache on the local disk.

    Args:
        folder: folder of the tars, or of the cache.
        manifest: the set's manifest.
        cache: fetches shards into the folder, None for a set that is read in place.

    Attributes:
        unreadable: error messages of unreadable shards, by file name; requesting a sample of one raises
            `UnreadableShard`.
        decoded: where images are kept once they are decoded; None: they are decoded each time.
    """

    def __init__(self, folder: Path, manifest: Manifest, cache: ShardCache | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.unreadable: dict[str, str] = {}
        self.decoded: DecodedImages | None = None
        self._cache = cache
        self._fetches_ahead = False
        self._files = TarFiles(cache)
        self._splits: dict[str, _Split] = {}

    @classmethod
    def open(cls, location: str | Path, settings: StreamSettings | None = None) -> ShardSet:
        """Opens the shard set at `location`, a folder or a URL (see `shards.streaming.fetching.ShardSource`).

        Raises:
            UserError: it is not a shard set, has another format version, or the location can't be read.
        """
        settings = settings or StreamSettings()
        folder = local_folder(location)
        if folder and settings.cache_folder is None:
            return cls(folder, Manifest.load(folder))
        source = ShardSource(location, allow_pipe=settings.allow_pipe, retry=settings.retry)
        if folder:
            Manifest.load(folder)  # gives a better message about a bad folder than a failed download
        try:
            text = source.read_bytes(MANIFEST_NAME).decode("utf-8")
        except (UnfetchableError, UnicodeDecodeError) as error:
            raise UserError(
                f"no shards at {source.shown('')}: {source.shown(MANIFEST_NAME)} could not be fetched ({error}); give "
                "the location of the complete folder of a finished 'python shards/run.py build'"
            ) from error
        manifest = Manifest.from_json(text, where=source.shown(MANIFEST_NAME))
        cache = ShardCache(source, text, manifest, settings)
        return cls(cache.folder, manifest, cache)

    def num_samples(self, split: str) -> int:
        """The number of samples in a split."""
        return self.manifest.num_samples(split)

    def sample(self, split: str, number: int) -> StoredSample:
        """The sample with this number in the split, 0 … num_samples − 1, counted through its shards in order.

        Raises:
            UnreadableShard: the index of its shard can't be read. If the tar can't be read, the sample's methods raise.
        """
        return self._split(split).sample(number)

    def samples(self, split: str) -> Iterator[StoredSample]:
        """All samples of a split, in the order of the tars."""
        for number in range(self.num_samples(split)):
            yield self.sample(split, number)

    def epoch_order(self, split: str, *, seed: int, epoch: int, block_samples: int) -> NDArray[np.int64]:
        """The order of a split's samples in one epoch; see `shards.streaming.order.epoch_order`."""
        counts = [shard.num_samples for shard in self.manifest.of_split(split)]
        return epoch_order(counts, seed=seed, epoch=epoch, block_samples=block_samples)

    def check_files(self, split: str, *, skip_unreadable: bool = False) -> None:
        """Checks that the tars of a split and their indexes are there and complete; a remote set's indexes are fetched.

        It reads none of them: what is in an index is checked when its shard is first used, and `verify` reads it all.

        Args:
            split: "train", "val" or "test".
            skip_unreadable: add faulty shards to `unreadable` instead of raising.

        Raises:
            UnreadableShard: a tar or an index is missing or has another size; names the first such shard.
        """
        shards = self.manifest.of_split(split)
        if self._cache:
            faults = self._cache.fetch_indexes([shard.name for shard in shards])
        else:
            with ThreadPoolExecutor(_PARALLEL_CHECKS) as pool:
                parts = pool.map(
                    self._size_faults, (shards[first::_PARALLEL_CHECKS] for first in range(_PARALLEL_CHECKS))
                )
                faults = {fault.shard: fault for part in parts for fault in part}
        for shard in shards:
            if shard.name in faults:
                if not skip_unreadable:
                    raise faults[shard.name]
                self.unreadable[shard.name] = str(faults[shard.name])

    def _size_faults(self, shards: Sequence[ShardEntry]) -> list[UnreadableShard]:
        return [fault for shard in shards if (fault := _size_fault(self.folder, shard))]

    def prepare_blocks(self, split: str, block_samples: int) -> None:
        """Checks that the shards of any block fit into the cache; if two blocks fit, the next one is prefetched.

        Raises:
            UserError: the cache is too small.
        """
        if self._cache is None:
            return
        needed, given = block_bytes_at_most(self.manifest.of_split(split), block_samples), self._cache.most_bytes
        if needed > given:
            raise UserError(
                f"data.cache_gb must be at least {needed / BYTES_PER_GB:.3g} to hold the shards of {block_samples} "
                f"samples that are shuffled together (data.block_samples), got {given / BYTES_PER_GB:.3g}; raise it "
                "or lower data.block_samples"
            )
        self._fetches_ahead = 2 * needed <= given

    def fetch_ahead(self, split: str, numbers: Sequence[int] | NDArray[np.int64]) -> None:
        """Fetches the shards of these samples in the background, if the cache has room for another block."""
        if self._cache and self._fetches_ahead:
            names = self._split(split).shard_names(numbers)
            self._cache.prefetch([name for name in names if name not in self.unreadable])

    def _split(self, split: str) -> _Split:
        if split not in self._splits:
            self._splits[split] = _Split(self, split, self._files)
        return self._splits[split]

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the indexes that it needs.
        return {**self.__dict__, "_splits": {}}


class _Split:
    """The indexes of one split's shards, read on first use."""

    def __init__(self, shard_set: ShardSet, split: str, files: TarFiles) -> None:
        self._shards = shard_set.manifest.of_split(split)
        self._mel_bands = shard_set.manifest.spectrogram.mel_bands
        self._paths = [shard_set.folder / shard.name for shard in self._shards]
        self._first = np.concatenate([[0], np.cumsum([shard.num_samples for shard in self._shards])]).tolist()
        self._files = files
        self._unreadable = shard_set.unreadable
        self._decoded = shard_set.decoded
        self._indexes: OrderedDict[int, Sequence[SampleEntry]] = OrderedDict()

    def entries(self, shard: int) -> Sequence[SampleEntry]:
        """The samples of the shard with this number in the split."""
        if shard in self._indexes:
            self._indexes.move_to_end(shard)
            return self._indexes[shard]
        entry, folder = self._shards[shard], self._paths[shard].parent
        if not self._files.fetch_index(entry.name) and (fault := _tar_fault(folder, entry)):
            raise fault
        try:
            samples = load_index(folder, entry)
        except UserError as error:
            raise UnreadableShard(str(error), shard=entry.name) from error
        if len(self._indexes) >= MAX_HELD_INDEXES:
            self._indexes.popitem(last=False)
        self._indexes[shard] = samples
        return samples

    def shard_names(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """File names of the shards that hold these samples."""
        shards = np.unique(np.searchsorted(self._first, numbers, side="right") - 1)
        return [self._shards[shard].name for shard in shards]

    def sample(self, number: int) -> StoredSample:
        if not 0 <= number < self._first[-1]:
            raise IndexError(f"sample {number} of a split of {self._first[-1]}")
        shard = bisect_right(self._first, number) - 1
        name = self._shards[shard].name
        if name in self._unreadable:
            raise UnreadableShard(self._unreadable[name], shard=name)
        entry = self.entries(shard)[number - self._first[shard]]
        return StoredSample(self._paths[shard], entry, self._files, self._mel_bands, self._decoded)


def _size_fault(folder: Path, shard: ShardEntry) -> UnreadableShard | None:
    """What is wrong with a tar or its index, judged by their sizes; None if nothing is."""
    if fault := _tar_fault(folder, shard):
        return fault
    try:
        check_index_size(folder, shard)
    except UserError as error:
        return UnreadableShard(str(error), shard=shard.name)
    return None


def _tar_fault(folder: Path, shard: ShardEntry) -> UnreadableShard | None:
    """What is wrong with a tar, judged by its size; None if nothing is."""
    path = folder / shard.name
    try:
        size = path.stat().st_size
    except OSError:
        return UnreadableShard(f"shard {path} is missing; copy it again, or build the shards again", shard=shard.name)
    if size != shard.bytes:
        return UnreadableShard(
            f"shard {path} has {size} bytes, the manifest says {shard.bytes}: it was truncated or replaced; "
            "copy it again, or build the shards again",
            shard=shard.name,
        )
    return None
