"""Where a sample lies in its tar, and reading its members and frames from there."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.records import Count, json_as
from shards.schema import MEL_BANDS, METADATA_MEMBER, SPECTROGRAM_MEMBER, Key

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
        header_bytes, stored_bands, stored_frames = read_npy_header(file, start, length)
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


def read_npy_header(file: BinaryIO, start: int, length: int) -> tuple[int, int, int]:
    """Reads the header of a spectrogram.

    Args:
        file: the tar.
        start: byte offset of the spectrogram in it.
        length: bytes of the spectrogram.

    Returns:
        The header's length in bytes, mel bands and frames.

    Raises:
        ValueError: it is not a valid spectrogram of that length.
    """
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
