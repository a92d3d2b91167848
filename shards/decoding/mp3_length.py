"""Adds the length to MP3 files of variable bit rate that don't state it: counts the frames and prepends a Xing tag.

libsndfile estimates the length of such a file from the bit rate of its first frame, and stops reading there.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ID3_HEADER_BYTES = 10
TAGS_OF_LENGTH = (b"Xing", b"Info", b"VBRI")
MAX_TRAILING_BYTES = 2**16
"""Maximum size of tags at the end of a file; if more bytes are not frames, the chain of frames is considered broken."""

KBITS_OF_INDEX = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Keyed by the two version bits of the header: MPEG-1, MPEG-2, MPEG-2.5."""


@dataclass(frozen=True)
class _FrameHeader:
    """The four-byte header of an MPEG layer III frame (ISO/IEC 11172-3, section 2.4.2.3)."""

    is_mpeg1: bool
    is_mono: bool
    sample_rate_hz: int
    kbits: int
    frame_bytes: int

    @classmethod
    def parse(cls, header: bytes) -> _FrameHeader | None:
        """Parses a header; returns None if the bytes are not one (free bit rates are not supported)."""
        if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
            return None
        version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
        if version == 1 or bitrate in (0, 15) or rate == 3:
            return None
        kbits = KBITS_OF_INDEX[1 if version == 3 else 2][bitrate - 1]
        sample_rate_hz = SAMPLE_RATES_HZ[version][rate]
        frame_bytes = (144 if version == 3 else 72) * kbits * 1000 // sample_rate_hz + (header[2] >> 1 & 1)
        return cls(version == 3, header[3] >> 6 == 3, sample_rate_hz, kbits, frame_bytes)


def with_stated_length(path: Path) -> io.RawIOBase | None:
    """Opens the file with a frame prepended that states its length; the caller closes it.

    Returns:
        None if the file is not an MP3, states its length, has a constant bit rate (so that its length follows from its
        size), or has a broken chain of frames.
    """
    with path.open("rb", buffering=2**18) as file:
        start = _first_frame(file)
        file.seek(start)
        head = file.read(4096)
        first = _FrameHeader.parse(head)
        if first is None or any(tag in head[: first.frame_bytes] for tag in TAGS_OF_LENGTH):
            return None
        num_frames, is_constant = _count_frames(file, start, path.stat().st_size)
    if num_frames == 0 or is_constant:
        return None
    return _Preceded(_frame_of_length(head[:4], first, num_frames), path, start)


def _first_frame(file: BinaryIO) -> int:
    """Offset of the first byte after the leading ID3v2 tags."""
    start = 0
    while True:
        file.seek(start)
        header = file.read(ID3_HEADER_BYTES)
        if not header.startswith(b"ID3") or len(header) < ID3_HEADER_BYTES:
            return start
        size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
        start += ID3_HEADER_BYTES + size


def _count_frames(file: BinaryIO, start: int, size: int) -> tuple[int, bool]:
    """The number of frames and whether all have the same bit rate; (0, True) if the chain of frames breaks early."""
    position, num_frames, rates = start, 0, set()
    while True:
        file.seek(position)
        header = _FrameHeader.parse(file.read(4))
        if header is None or position + header.frame_bytes > size:
            break
        rates.add(header.kbits)
        num_frames += 1
        position += header.frame_bytes
    return (num_frames, len(rates) == 1) if size - position <= MAX_TRAILING_BYTES else (0, True)


def _frame_of_length(header: bytes, first: _FrameHeader, num_frames: int) -> bytes:
    """A silent frame of the same kind with a Xing tag that states the number of frames."""
    ninth_bitrate = bytes([0xFF, header[1] | 1, 0x90 | header[2] & 0x0C, header[3]])  # no checksum, no padding
    frame = _FrameHeader.parse(ninth_bitrate)
    assert frame is not None
    side_bytes = (17 if first.is_mono else 32) if first.is_mpeg1 else (9 if first.is_mono else 17)
    has_frames = (1).to_bytes(4, "big")
    tag = ninth_bitrate + bytes(side_bytes) + b"Xing" + has_frames + num_frames.to_bytes(4, "big")
    return tag.ljust(frame.frame_bytes, b"\0")


class _Preceded(io.RawIOBase):
    """A read-only file: the bytes `beginning`, followed by `path` from offset `start`."""

    def __init__(self, beginning: bytes, path: Path, start: int) -> None:
        super().__init__()
        self._beginning = beginning
        self._file = path.open("rb", buffering=2**18)
        self._shift = start - len(beginning)
        self._size = path.stat().st_size - self._shift
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase.readinto`."""
        wanted = len(buffer)
        if self._position < len(self._beginning):
            piece = self._beginning[self._position : self._position + wanted]
        else:
            self._file.seek(self._position + self._shift)
            piece = self._file.read(wanted)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        """Also closes the underlying file."""
        self._file.close()
        super().close()
