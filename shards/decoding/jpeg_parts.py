"""Decodes a part of a JPEG without the rest, by cutting it at its restart markers.

A JPEG decoder starts afresh after a restart marker, so the data between two markers can be decoded on its own. A part
of an image is decoded as a smaller JPEG with the same tables, another height and width, and only the pieces that the
part touches. The pixels are bit-identical to those of the whole image: because chroma is interpolated between
neighbours, a margin is decoded too and cropped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_BLOCKS_BETWEEN_MARKERS = 4
"""In blocks of 16 × 16 pixels: a 512-px image can be cut every 64 px across and every 16 px down, for 1 % more size."""

CHROMA_MARGIN_PIXELS = 4

_START, _END = b"\xff\xd8", b"\xff\xd9"
_BASELINE_FRAME, _RESTART_INTERVAL, _SCAN = 0xC0, 0xDD, 0xDA
_OTHER_FRAMES = frozenset(range(0xC1, 0xD0)) - {0xC4, 0xC8, 0xCC}  # those three are tables
_FIRST_MARKER = 0xD0


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class _Layout:
    """Fields of a JPEG's header.

    Attributes:
        height, width: size of the image in pixels.
        frame_at: byte offset of the height field.
        data_at: byte offset of the compressed data.
        block_height, block_width: size of a coding block (MCU) in pixels.
        blocks_between: blocks between two restart markers, 0 without markers.
    """

    height: int
    width: int
    frame_at: int
    data_at: int
    block_height: int
    block_width: int
    blocks_between: int


def blocks_between_markers(width: int, block_width: int = 16) -> int:
    """The restart interval in blocks for which every row of blocks starts after a marker.

    Args:
        width: width of the image in pixels.
        block_width: width of a coding block (MCU) in pixels; 16 for 4:2:0 chroma subsampling.

    Returns:
        The smallest divisor of the blocks per row that is at least `LEAST_BLOCKS_BETWEEN_MARKERS`, or the whole row.
    """
    across = -(-width // block_width)
    divisors = (blocks for blocks in range(LEAST_BLOCKS_BETWEEN_MARKERS, across) if across % blocks == 0)
    return next(divisors, across)


def image_shape(jpeg: bytes) -> tuple[int, int]:
    """Height and width from a JPEG's header.

    Raises:
        ValueError: the header can't be read.
    """
    layout = _read_layout(jpeg)
    return layout.height, layout.width


def decode_part(jpeg: bytes, box: Box) -> NDArray[np.uint8]:
    """Decodes a part of an image; the pixels are identical to a crop of the whole image.

    A JPEG that has no restart markers or can't be cut is decoded as a whole.

    Args:
        jpeg: a complete JPEG; an EXIF orientation is not applied.
        box: the part, at least one pixel.

    Returns:
        uint8 (box.height, box.width, 3), RGB.

    Raises:
        ValueError: the JPEG is not complete, or the part is not within the image.
    """
    _check_ends(jpeg)
    layout = _read_layout(jpeg)
    if box.top < 0 or box.left < 0 or min(box.height, box.width) < 1:
        raise ValueError(f"{box} is not a valid part of an image")
    if box.top + box.height > layout.height or box.left + box.width > layout.width:
        raise ValueError(f"{box} is not within an image of {layout.height} × {layout.width}")
    cut = _cut(jpeg, layout, box)
    if cut is None:
        pixels, top, left = decode_whole(jpeg), box.top, box.left
    else:
        pixels, top, left = _decode(cut[0]), box.top - cut[1], box.left - cut[2]
    return pixels[top : top + box.height, left : left + box.width]


def decode_whole(jpeg: bytes) -> NDArray[np.uint8]:
    """Decodes a JPEG to uint8 (height, width, 3) RGB; an EXIF orientation is not applied.

    Raises:
        ValueError: the bytes are not a complete JPEG.
    """
    _check_ends(jpeg)
    return _decode(np.frombuffer(jpeg, np.uint8))


def _check_ends(jpeg: bytes) -> None:
    # Decoders accept a truncated JPEG and fill the missing rest with grey.
    if not (jpeg.startswith(_START) and jpeg.endswith(_END)):
        raise ValueError(f"not a complete JPEG: {len(jpeg)} bytes that begin with {jpeg[:4].hex()}")


def _decode(jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if rgb is None:
        raise ValueError(f"not a complete JPEG: {len(jpeg)} bytes that begin with {jpeg[:4].tobytes().hex()}")
    return rgb.astype(np.uint8, copy=False)


def _read_layout(jpeg: bytes) -> _Layout:
    position, frame_at, blocks_between = 2, 0, 0
    height = width = block_height = block_width = 0
    try:
        if not jpeg.startswith(_START):
            raise ValueError
        while True:
            fill, marker, length = struct.unpack_from(">BBH", jpeg, position)
            if fill != 0xFF:
                raise ValueError
            if marker == _BASELINE_FRAME or marker in _OTHER_FRAMES:
                frame_at = position + 5
                height, width, components = struct.unpack_from(">HHB", jpeg, frame_at)
                factors = [jpeg[frame_at + 6 + 3 * component] for component in range(components)]
                if marker == _BASELINE_FRAME and components == 3:
                    block_width, block_height = (8 * max(f >> 4 for f in factors), 8 * max(f & 15 for f in factors))
            elif marker == _RESTART_INTERVAL:
                (blocks_between,) = struct.unpack_from(">H", jpeg, position + 4)
            if marker == _SCAN and jpeg[position + 4] != 3:
                block_width = 0  # non-interleaved components: markers of the first scan don't cut the others
            position += 2 + length
            if marker == _SCAN:
                break
        if not (frame_at and height and width):
            raise ValueError
    except (struct.error, ValueError, IndexError):
        raise ValueError(f"not a complete JPEG: {len(jpeg)} bytes that begin with {jpeg[:4].hex()}") from None
    return _Layout(height, width, frame_at, position, block_height, block_width, blocks_between)


def _cut(jpeg: bytes, layout: _Layout, box: Box) -> tuple[NDArray[np.uint8], int, int] | None:
    """A JPEG of the pieces that the box touches, and the position of its top left corner; None if it can't be cut."""
    if not (layout.blocks_between and layout.block_width):
        return None
    across, rows = -(-layout.width // layout.block_width), -(-layout.height // layout.block_height)
    pieces_a_row, rest = divmod(across, layout.blocks_between)
    if rest:
        return None  # a piece continues in the next row
    data = np.frombuffer(jpeg, np.uint8)
    ends = _piece_ends(data, layout.data_at, rows * pieces_a_row)
    if ends is None:
        return None
    piece_width = layout.blocks_between * layout.block_width
    first_row, end_row = _touched(box.top, box.height, layout.block_height, layout.height)
    first_column, end_column = _touched(box.left, box.width, piece_width, layout.width)
    top, left = first_row * layout.block_height, first_column * piece_width
    height = min(end_row * layout.block_height, layout.height) - top
    width = min(end_column * piece_width, layout.width) - left

    header = data[: layout.data_at].copy()
    header[layout.frame_at : layout.frame_at + 4] = (height >> 8, height & 255, width >> 8, width & 255)
    bounds = np.concatenate(([layout.data_at], ends))
    firsts = np.arange(first_row, end_row) * pieces_a_row + first_column
    lasts = firsts + (end_column - first_column)
    runs = zip(bounds[firsts].tolist(), bounds[lasts].tolist(), strict=True)
    cut = np.concatenate([header, *(data[start:end] for start, end in runs)])
    # Markers are numbered 0 … 7 in turn, so those of the cut JPEG are renumbered.
    wanted = (firsts[:, None] + np.arange(end_column - first_column)).ravel()
    marker_ends = layout.data_at + np.cumsum(bounds[wanted + 1] - bounds[wanted])
    cut[marker_ends - 1] = _FIRST_MARKER + np.arange(len(wanted)) % 8
    cut[-1] = _END[1]
    return cut, top, left


def _touched(start: int, length: int, step: int, whole: int) -> tuple[int, int]:
    """First and end (exclusive) of the steps that an interval with its margin touches."""
    first = max(0, start - CHROMA_MARGIN_PIXELS) // step
    end = -(-min(whole, start + length + CHROMA_MARGIN_PIXELS) // step)
    return first, end


def _piece_ends(data: NDArray[np.uint8], data_at: int, pieces: int) -> NDArray[np.intp] | None:
    """End offset of each piece, after its marker; None unless all expected markers are there and in order."""
    escapes = np.flatnonzero(data[data_at:-2] == 0xFF) + data_at
    codes = data[escapes + 1]
    is_marker = (codes & 0xF8) == _FIRST_MARKER
    numbers = codes[is_marker] & 7
    if len(numbers) != pieces - 1 or not np.array_equal(numbers, np.arange(pieces - 1) % 8):
        return None
    return np.concatenate((escapes[is_marker] + 2, [len(data)]))
