"""The index beside a tar: offsets of all samples and members, for random access."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.records import MOST_BYTES, Count, Sha256, json_as, read_bytes_within, record_as, shown
from shards.schema import FORMAT_VERSION, MEL_BANDS, METADATA_MEMBER, SPECTROGRAM_MEMBER, Key

INDEX_SUFFIX = ".index.json"
_NPY_HEADER_MOST_BYTES = 256


@dataclass(frozen=True)
class SampleEntry:
    """Position of one sample in its tar.

    Attributes:
        key: the sample's key.
        offset: byte offset of its first header.
        bytes: size of all its members with headers and padding.
        members: extension → (byte offset of the member's data, length of the data in bytes).
        num_frames: number of frames of its spectrogram.
    """

    key: Key
    offset: Count
    bytes: Count
    members: dict[str, tuple[Count, Count]]
    num_frames: Count


@dataclass(frozen=True)
class FileChecksum:
    """Size in bytes and SHA-256 in hexadecimal of a file."""

    bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one tar, in order.

    Attributes:
        shard: file name of the tar.
        samples: one entry per sample.
        previews: checksum of the tar of listening clips with the same name in `previews/`, None if there is none.
    """

    shard: str
    samples: tuple[SampleEntry, ...]
    previews: FileChecksum | None = None

    def to_json(self) -> str:
        """Serialises the index, one sample per line."""
        head = {"format_version": FORMAT_VERSION, "shard": self.shard}
        previews = dataclasses.asdict(self.previews) if self.previews else None
        lines = ",\n".join(json.dumps(dataclasses.asdict(sample)) for sample in self.samples)
        return f'{json.dumps(head)[:-1]}, "previews": {json.dumps(previews)}, "samples": [\n{lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str, remedy: str = "") -> ShardIndex:
        """Restores an index that `to_json` wrote.

        Args:
            text: the JSON.
            where: the file it was read from, for messages.
            remedy: what to do if it is no index; appended to the message.

        Raises:
            UserError: it is no index, or one of another format version.
        """
        record = json_as(dict[str, Any], text, where, remedy)
        version = record.get("format_version")
        if version != FORMAT_VERSION:
            raise UserError(
                f"{where}: format_version is {shown(version)}, not {FORMAT_VERSION}{remedy and '; '}{remedy}"
            )
        return record_as(cls, record, where, remedy)

    def check_within(self, num_bytes: int, *, where: str, remedy: str) -> None:
        """Checks that the samples and their members lie within the tar.

        Args:
            num_bytes: size of the tar.
            where: the index, for the message.
            remedy: what to do if they do not; appended to the message.

        Raises:
            UserError: names the first that does not.
        """
        for sample in self.samples:
            end = sample.offset + sample.bytes
            is_within = all(
                sample.offset <= start and start + length <= end for start, length in sample.members.values()
            )
            if end > num_bytes or not is_within:
                raise UserError(
                    f"{where}: sample {sample.key} is not within the {num_bytes:,} bytes of the tar; {remedy}"
                )


def index_path(tar_path: Path) -> Path:
    """`<split>-<index>.index.json` beside `<split>-<index>.tar`."""
    return tar_path.with_name(tar_path.stem + INDEX_SUFFIX)


def load_index(tar_path: Path, tar_bytes: int | None = None) -> ShardIndex:
    """Reads the index beside `tar_path`.

    Args:
        tar_path: the tar; need not exist.
        tar_bytes: size of the tar, which its samples must lie within; None: not checked.

    Raises:
        UserError: the index is missing or unreadable, or belongs to another tar.
    """
    path = index_path(tar_path)
    remedy = "copy the shard set again with its .index.json files, or build the shards again"
    if not path.exists():
        raise UserError(f"{tar_path} has no index: {path.name} is missing; {remedy}")
    index = ShardIndex.from_json(read_bytes_within(path, MOST_BYTES, remedy), where=str(path), remedy=remedy)
    if index.shard != tar_path.name:
        raise UserError(f"{path} is the index of {shown(index.shard)}, not of {tar_path.name}; {remedy}")
    if tar_bytes is not None:
        index.check_within(tar_bytes, where=str(path), remedy=remedy)
    return index


def build_index_from_tar(tar_path: Path) -> ShardIndex:
    """Builds the index (without the checksum of the previews) by reading the whole tar.

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
                    _, _, num_frames = _read_npy_header(file, member.offset_data, member.size)
                    entry = dataclasses.replace(entry, num_frames=num_frames)
                entries[-1] = entry
    except (tarfile.TarError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{tar_path} is not a readable shard ({error}); copy or build it again") from error
    return ShardIndex(tar_path.name, tuple(entries))


def read_member(file: BinaryIO, entry: SampleEntry, member: str) -> bytes:
    """Reads one member of a sample.

    Args:
        file: the tar, open for binary reading; its position is neither used nor moved, so threads can share it.
        entry: the sample's entry in the index.
        member: extension of the member, such as "jpg".

    Raises:
        UserError: the sample has no such member, or the tar is truncated.
    """
    return _read_exactly(file, *_position(file, entry, member), entry.key)


def read_metadata(file: BinaryIO, entry: SampleEntry) -> dict[str, Any]:
    """Reads a sample's JSON: its coordinates, title, creator, licence …

    Raises:
        UserError: the sample has none, it is damaged, or the tar is truncated.
    """
    content = read_member(file, entry, METADATA_MEMBER)
    return json_as(dict[str, Any], content, f"the JSON of sample {entry.key} of {file.name}", "build the shards again")


def _position(file: BinaryIO, entry: SampleEntry, member: str) -> tuple[int, int]:
    if member not in entry.members:
        raise UserError(f"sample {entry.key} of {file.name} has no member .{member}; build the shards again")
    return entry.members[member]


def read_frames(
    file: BinaryIO, entry: SampleEntry, first_frame: int, num_frames: int, mel_bands: int = MEL_BANDS
) -> NDArray[np.uint8]:
    """Reads consecutive frames of a sample's spectrogram, without the rest of it.

    Args:
        file: the tar, open for binary reading; its position is neither used nor moved.
        entry: the sample's entry in the index.
        first_frame: 0 … entry.num_frames − num_frames.
        num_frames: number of frames, at least 1.
        mel_bands: of the shard set's spectrograms.

    Returns:
        uint8 (mel_bands, num_frames) in Fortran order, the stored bytes.

    Raises:
        ValueError: the frames are not all within the spectrogram.
        UserError: the member is not a spectrogram or differs from the index, or the tar is truncated.
    """
    if num_frames < 1 or first_frame < 0 or first_frame + num_frames > entry.num_frames:
        raise ValueError(
            f"frames {first_frame} to {first_frame + num_frames} are not within the {entry.num_frames} of {entry.key}"
        )
    start, length = _position(file, entry, SPECTROGRAM_MEMBER)
    try:
        header_bytes, stored_bands, stored_frames = _read_npy_header(file, start, length)
        if stored_bands != mel_bands:
            raise ValueError(f"its spectrogram has {stored_bands} mel bands, not the {mel_bands} of the manifest")
    except ValueError as error:
        raise UserError(f"sample {entry.key} of {file.name}: {error}; run verify on the shards") from error
    if stored_frames != entry.num_frames:
        raise UserError(
            f"sample {entry.key} of {file.name} has {stored_frames} frames, its index says {entry.num_frames}; "
            "tar and index are from different builds: copy or build them again"
        )
    data = _read_exactly(file, start + header_bytes + first_frame * mel_bands, num_frames * mel_bands, entry.key)
    return np.frombuffer(data, dtype=np.uint8).reshape((mel_bands, num_frames), order="F")


def _read_npy_header(file: BinaryIO, start: int, length: int) -> tuple[int, int, int]:
    """Length of the npy header in bytes, mel bands and frames; raises ValueError if it is not a valid spectrogram."""
    head = os.pread(file.fileno(), min(length, _NPY_HEADER_MOST_BYTES), start)
    header_bytes, mel_bands, num_frames = _parse_npy_header(head[: 10 + int.from_bytes(head[8:10], "little")])
    if header_bytes + mel_bands * num_frames != length:
        raise ValueError(
            f"its spectrogram has {length} bytes, which does not match {mel_bands} bands x {num_frames} frames"
        )
    return header_bytes, mel_bands, num_frames


@lru_cache(maxsize=4096)  # numpy evaluates the header as Python source, which takes longer than reading the frames
def _parse_npy_header(header: bytes) -> tuple[int, int, int]:
    head = io.BytesIO(header)
    version = np.lib.format.read_magic(head)
    if version != (1, 0):
        raise ValueError(f"its spectrogram is npy version {version}, not (1, 0)")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(head)
    if dtype != np.uint8 or len(shape) != 2 or not is_fortran:
        raise ValueError(f"its spectrogram is {dtype} {shape}, not uint8 (mel bands, frames) in Fortran order")
    return head.tell(), *shape


def _read_exactly(file: BinaryIO, start: int, length: int, key: str) -> bytes:
    data = os.pread(file.fileno(), length, start)
    while len(data) < length:
        more = os.pread(file.fileno(), length - len(data), start + len(data))
        if not more:
            raise UserError(f"{file.name} ends within sample {key}: it is truncated; copy or build it again")
        data += more
    return data
