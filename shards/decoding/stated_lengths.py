"""What a sound file states about its own length, read from its header, to notice files that were cut short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
"""What programs that write to a pipe leave in place of a size."""

MAX_CHUNKS = 10_000
"""Maximum number of chunks that are searched in a file."""

XING_TAGS = (b"Xing", b"Info")
XING_HAS_FRAMES = 1
FRAMES_AFTER_VBRI = 14
"""Offset of the number of frames in a VBRI tag."""

OGG_HEADER_BYTES = 27
OGG_LAST_PAGE = 4
"""Flag of the last page of a logical stream (RFC 3533, section 6)."""


@dataclass(frozen=True)
class DataExtent:
    """Where a file's header says that its sound lies.

    Attributes:
        start: offset of the first byte.
        end: offset after the last byte, which may be beyond the end of a file that was cut.
    """

    start: int
    end: int


@dataclass(frozen=True)
class _Chunks:
    """How a container divides itself into named chunks of stated sizes.

    Attributes:
        header_bytes: size of what precedes the first chunk.
        name_bytes: size of a chunk's name, which comes first.
        size_bytes: size of the number that follows the name.
        order: byte order of that number.
        size_includes_header: whether it counts name and size too.
        alignment: chunks begin at multiples of it.
        data: beginning of the name of the chunk that holds the sound.
    """

    header_bytes: int
    name_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    size_includes_header: bool
    alignment: int
    data: bytes


RIFF = _Chunks(12, 4, 4, "little", False, 2, b"data")
AIFF = _Chunks(12, 4, 4, "big", False, 2, b"SSND")
CAF = _Chunks(8, 4, 8, "big", False, 1, b"data")
W64 = _Chunks(40, 16, 8, "little", True, 8, b"data")
ASF = _Chunks(0, 16, 8, "little", True, 1, b"\x36\x26\xb2\x75")


def stated_extent(file: BinaryIO) -> DataExtent | None:
    """Where the header of a WAV (also RF64, BW64), AIFF, AU, CAF, W64, MP4, WMA or Matroska file says its sound lies.

    Returns:
        None for other formats, and where the size is left open, as by programs that write to a pipe.
    """
    file.seek(0)
    head = file.read(16)
    if is_mp4(head):
        return _mp4(file)
    for signature, find in EXTENTS.items():
        if head.startswith(signature):
            return find(file)
    return None


def stated_mp3_frames(file: BinaryIO, first_frame: int) -> int | None:
    """The number of MPEG frames stated by a Xing, Info or VBRI tag.

    Args:
        file: an MP3 file.
        first_frame: offset of its first frame with sound, which the frame with the tag precedes.

    Returns:
        None if there is no tag, or it leaves the number out or 0.
    """
    start = max(0, first_frame - 4096)
    file.seek(start)
    head = file.read(first_frame - start)
    for tag in (*XING_TAGS, b"VBRI"):
        at = head.rfind(tag)
        if at < 0:
            continue
        if tag == b"VBRI":
            at += FRAMES_AFTER_VBRI
        elif int.from_bytes(head[at + 4 : at + 8], "big") & XING_HAS_FRAMES:
            at += 8
        else:
            return None
        return int.from_bytes(head[at : at + 4], "big") or None
    return None


def has_last_ogg_page(file: BinaryIO) -> bool:
    """Whether an Ogg file ends with the last page of its stream, whole; later bytes that are no page don't matter."""
    file.seek(0, 2)
    size = file.tell()
    start = max(0, size - 2**17)  # a page has at most 65,307 bytes
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) - at < OGG_HEADER_BYTES:
        return False
    num_segments = tail[at + OGG_HEADER_BYTES - 1]
    segments = tail[at + OGG_HEADER_BYTES : at + OGG_HEADER_BYTES + num_segments]
    end = at + OGG_HEADER_BYTES + num_segments + sum(segments)
    return bool(tail[at + 5] & OGG_LAST_PAGE) and len(segments) == num_segments and end <= len(tail)


def _chunk(file: BinaryIO, kind: _Chunks) -> DataExtent | None:
    position, wide_size = kind.header_bytes, None
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(kind.name_bytes + kind.size_bytes)
        if len(header) < kind.name_bytes + kind.size_bytes:
            return None
        size = int.from_bytes(header[kind.name_bytes :], kind.order)
        start = position + len(header)
        if header.startswith(b"ds64"):  # RF64 and BW64 have the size here, and 2^32 - 1 in the chunk (EBU Tech 3306)
            wide_size = int.from_bytes(file.read(16)[8:], "little")
        if header.startswith(kind.data):
            if size == 0xFFFFFFFF and wide_size is not None:
                size = wide_size
            if size in UNKNOWN_SIZES:
                return None
            return DataExtent(start, position + size if kind.size_includes_header else start + size)
        position = position + max(size, len(header)) if kind.size_includes_header else start + size
        position += -position % kind.alignment
    return None


def is_mp4(head: bytes) -> bool:
    """Whether a file that begins so is an MP4, M4A, MOV or 3GP."""
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")


def _mp4(file: BinaryIO) -> DataExtent | None:
    """From the first media data box to the end of the last (ISO/IEC 14496-12, section 4.2)."""
    position, first, last = 0, None, 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            break
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if size < 8:  # 0: until the end of the file
            break
        if header[4:8] == b"mdat":
            first, last = position if first is None else first, position + size
        position += size
    return None if first is None else DataExtent(first, last)


def _au(file: BinaryIO) -> DataExtent | None:
    file.seek(4)
    start, size = (int.from_bytes(file.read(4), "big") for _ in range(2))
    return None if size in UNKNOWN_SIZES else DataExtent(start, start + size)


def _matroska(file: BinaryIO) -> DataExtent | None:
    """The extent of the segment, the second element; an element is an id and a size of variable length (RFC 8794)."""
    file.seek(0)
    head = file.read(4096)
    header_size, at = _variable_integer(head, 4)
    if header_size is None or head[at + header_size : at + header_size + 4] != b"\x18\x53\x80\x67":
        return None
    size, start = _variable_integer(head, at + header_size + 4)
    return None if size is None else DataExtent(start, start + size)


def _variable_integer(data: bytes, at: int) -> tuple[int | None, int]:
    """The number at an offset, None if all its bits are set (unknown), and the offset after it."""
    if at >= len(data) or data[at] == 0:
        return None, at
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length


EXTENTS: dict[bytes, Callable[[BinaryIO], DataExtent | None]] = {
    b"RIFF": lambda file: _chunk(file, RIFF),
    b"RF64": lambda file: _chunk(file, RIFF),
    b"BW64": lambda file: _chunk(file, RIFF),
    b"FORM": lambda file: _chunk(file, AIFF),
    b"caff": lambda file: _chunk(file, CAF),
    b"riff\x2e\x91\xcf\x11": lambda file: _chunk(file, W64),
    b"\x30\x26\xb2\x75": lambda file: _chunk(file, ASF),
    b".snd": _au,
    b"\x1a\x45\xdf\xa3": _matroska,
}
"""By the first bytes of a file."""
