"""The index beside a tar, memory-mapped: where each sample and its members lie, for random access.

It is a structured array in a npy file, `np.load("train-000000.index.npy", mmap_mode="r")`: a record for each sample, in
the order of the tar, with its key, byte offset and bytes (all members with headers and padding), the frames of its
spectrogram, and offset and bytes of each member's data.
"""

from __future__ import annotations

import dataclasses
import io
import mmap
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from shards.checksums import FileChecksum, checksum_of
from shards.errors import UserError, first_line
from shards.manifest import ShardEntry
from shards.schema import IMAGE_MEMBER, MAX_KEY_CHARACTERS, METADATA_MEMBER, SPECTROGRAM_MEMBER
from shards.streaming.entries import SampleEntry, read_npy_header
from shards.streaming.index_json import JSON_SUFFIX, REMEDY, JsonIndex

INDEX_SUFFIX = ".index.npy"

_MEMBERS = {"jpg": IMAGE_MEMBER, "json": METADATA_MEMBER, "spectrogram": SPECTROGRAM_MEMBER}
"""By the names that the fields of a record begin with."""
_NUMBERS = ("offset", "bytes", "num_frames", *(f"{name}_{what}" for name in _MEMBERS for what in ("offset", "bytes")))
_HEADER_MOST_BYTES = 2048

_IN_KEYS = np.zeros(256, dtype=bool)
_IN_KEYS[[ord(letter) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"]] = True


def _record_type(key_characters: int) -> np.dtype[np.void]:
    return np.dtype([("key", f"S{key_characters}"), *((name, "<i8") for name in _NUMBERS)])


class StoredEntries(Sequence[SampleEntry]):
    """The samples of an index file.

    Args:
        records: (n,), as `encode_index` writes them.
    """

    def __init__(self, records: NDArray[np.void]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, number: int) -> SampleEntry: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[SampleEntry]: ...

    @override
    def __getitem__(self, number: int | slice) -> SampleEntry | Sequence[SampleEntry]:
        if isinstance(number, slice):
            return StoredEntries(self._records[number])
        key, offset, size, num_frames, *places = self._records[number].item()
        members = dict(zip(_MEMBERS.values(), zip(places[::2], places[1::2], strict=True), strict=True))
        return SampleEntry(key.decode("ascii"), offset, size, members, num_frames)


def encode_index(entries: Sequence[SampleEntry]) -> bytes:
    """The index file of the samples of a tar, which have exactly an image, metadata and a spectrogram."""
    kind = _record_type(max((len(entry.key) for entry in entries), default=1))
    records = np.array([_record(entry) for entry in entries], kind)
    file = io.BytesIO()
    np.save(file, records, allow_pickle=False)
    return file.getvalue()


def _record(entry: SampleEntry) -> tuple[bytes | int, ...]:
    places = (number for member in _MEMBERS.values() for number in entry.members[member])
    return (entry.key.encode("ascii"), entry.offset, entry.bytes, entry.num_frames, *places)


def index_name(entry: ShardEntry) -> str:
    """File name of a shard's index: `<split>-<number>.index.npy`, or .index.json in format version 1."""
    return Path(entry.name).stem + (INDEX_SUFFIX if entry.index else JSON_SUFFIX)


def remove_index(tar_path: Path) -> None:
    """Removes the index beside a tar, of whatever format version."""
    for suffix in (INDEX_SUFFIX, JSON_SUFFIX):
        tar_path.with_name(tar_path.stem + suffix).unlink(missing_ok=True)


def check_index_size(folder: Path, entry: ShardEntry) -> None:
    """Checks that a shard's index is there and as large as the manifest says, without reading it.

    Raises:
        UserError: it isn't.
    """
    path = folder / index_name(entry)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{folder / entry.name} has no index: {path.name} is missing; {REMEDY}") from error
    if entry.index and size != entry.index.bytes:
        raise UserError(f"{path} has {size:,} bytes, the manifest says {entry.index.bytes:,}; {REMEDY}")


def check_index(content: bytes, entry: ShardEntry) -> None:
    """Checks that the content of a file is the index of a shard.

    Raises:
        UserError: it isn't.
    """
    if entry.index is None:
        JsonIndex.parse(content, index_name(entry), entry)
    elif checksum_of(content) != entry.index:
        raise UserError("size or SHA-256 of the downloaded index differs from the manifest")


def load_index(folder: Path, entry: ShardEntry) -> Sequence[SampleEntry]:
    """Opens and checks the index of a shard.

    Args:
        folder: of the shard set.
        entry: of the shard in the manifest; its tar need not exist.

    Returns:
        The samples, in the order of the tar.

    Raises:
        UserError: the index is missing, unreadable, not the one of the manifest, or does not describe such a tar.
    """
    check_index_size(folder, entry)
    path = folder / index_name(entry)
    samples: Sequence[SampleEntry]
    if entry.index is None:
        samples = JsonIndex.load(path, entry).samples
    else:
        samples = StoredEntries(_checked(_open(path, entry.index), entry, path))
    if len(samples) != entry.num_samples:
        raise UserError(
            f"the index of {folder / entry.name} has {len(samples)} samples, the manifest says {entry.num_samples}; "
            f"{REMEDY}"
        )
    return samples


def previews_checksum(folder: Path, entry: ShardEntry) -> FileChecksum | None:
    """What a shard's tar of listening clips should be; None if it has none.

    Raises:
        UserError: the index of a set of format version 1, which says so, is missing or damaged.
    """
    if entry.index is not None:
        return entry.previews
    return JsonIndex.load(folder / index_name(entry), entry).previews


def _open(path: Path, checksum: FileChecksum) -> NDArray[np.void]:
    """The records of an index file, memory-mapped."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise UserError(f"{path} can't be read: {first_line(error)}; {REMEDY}") from error
    if checksum_of(content) != checksum:
        raise UserError(f"{path} is not the index of the manifest: its checksum differs; {REMEDY}")
    try:
        kind, count, start = _parse_header(content[: 10 + int.from_bytes(content[8:10], "little")])
        return np.frombuffer(content, kind, count, start)
    except Exception as error:  # numpy parses the header as Python source, which raises many kinds of errors
        raise UserError(f"{path} is not an index ({first_line(error)[:120]}); {REMEDY}") from error


@lru_cache(maxsize=1024)
def _parse_header(header: bytes) -> tuple[np.dtype[Any], int, int]:
    """Type and number of the records, and the bytes before them."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"npy version {version}, not (1, 0)")
    shape, _, kind = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER_MOST_BYTES)
    width = kind["key"].itemsize if kind.names and "key" in kind.names else 0
    if len(shape) != 1 or not 1 <= width <= MAX_KEY_CHARACTERS or kind != _record_type(width):
        raise ValueError("it has other fields")
    return kind, shape[0], file.tell()


def _checked(records: NDArray[np.void], entry: ShardEntry, path: Path) -> NDArray[np.void]:
    """The records, in which every key is valid and every position lies within the tar."""
    letters = np.ascontiguousarray(records["key"]).view(np.uint8).reshape(len(records), records.dtype["key"].itemsize)
    is_letter = letters != 0
    is_fine = (_IN_KEYS[letters] | ~is_letter).all(axis=1) & is_letter[:, 0]
    is_fine &= ~(is_letter[:, 1:] & ~is_letter[:, :-1]).any(axis=1)
    if not is_fine.all():
        raise UserError(f"{path}: the key of sample {int(np.argmin(is_fine))} can't name a sample; {REMEDY}")
    numbers = {name: records[name] for name in _NUMBERS}
    # Each within the tar first, so that no sum of two can overflow.
    is_fine = np.all([(number >= 0) & (number <= entry.bytes) for number in numbers.values()], axis=0)
    end = numbers["offset"] + numbers["bytes"]
    is_fine &= end <= entry.bytes
    for name in _MEMBERS:
        start = numbers[f"{name}_offset"]
        is_fine &= (numbers["offset"] <= start) & (start + numbers[f"{name}_bytes"] <= end)
    if not is_fine.all():
        sample = StoredEntries(records)[int(np.argmin(is_fine))]
        raise UserError(f"{path}: sample {sample.key} is not within the {entry.bytes:,} bytes of the tar; {REMEDY}")
    return records


def entries_in_tar(tar_path: Path) -> tuple[SampleEntry, ...]:
    """The samples of a tar, found by reading all its headers.

    Raises:
        UserError: the tar can't be read to its end, or a spectrogram in it is invalid.
    """
    entries: list[SampleEntry] = []
    try:
        with tarfile.open(tar_path, "r:") as tar, tar_path.open("rb") as file:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if not entries or entries[-1].key != key:
                    entries.append(SampleEntry(key, member.offset, 0, {}, 0))
                entry = entries[-1]
                members = {**entry.members, extension: (member.offset_data, member.size)}
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                entry = dataclasses.replace(entry, members=members, bytes=end - entry.offset)
                if extension == SPECTROGRAM_MEMBER:
                    _, _, num_frames = read_npy_header(file, member.offset_data, member.size)
                    entry = dataclasses.replace(entry, num_frames=num_frames)
                entries[-1] = entry
    except (tarfile.TarError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{tar_path} is not a readable shard ({error}); copy or build it again") from error
    return tuple(entries)
