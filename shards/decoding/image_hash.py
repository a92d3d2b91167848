"""Tells whether two stored images are the same: byte-equal, or near-equal by a perceptual hash and a thumbnail."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DIFFERENT_BITS = 3
"""Near-equal images differ in at most this many of the 64 bits of the hash …"""

MAX_THUMBNAIL_DIFFERENCE = 4.0
MIN_CORRELATION = 0.97
"""… and their thumbnails of 16 × 16 pixels on average by at most so many grey levels of 255, correlated by at least so
much: two stretches of water with a boat each differ by little, but not alike."""

MIN_STEP = 2
"""Neighbouring areas that differ by no more grey levels count as equal, so that noise in even areas changes no bit."""

MIN_CONTRAST = 8.0
"""An image whose thumbnail has a smaller standard deviation in grey levels, as of open water, desert or an even forest,
has no hash: it equals only images of the same bytes."""

THUMBNAIL_SIDE = 16
_MIN_DECODED_SIDE = 64
_NUM_ONES = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class ImageHash:
    """What is compared of an image.

    Attributes:
        checksum: of the JPEG's bytes, hexadecimal.
        bits: difference hash, 64 bits (Krawetz 2013): whether each of 8 × 9 areas is darker than its right neighbour
            by more than `MIN_STEP`; None if the image has too little contrast.
        thumbnail: 256 grey levels, rows of 16.
    """

    checksum: str
    bits: int | None
    thumbnail: bytes

    def to_text(self) -> str:
        """Serialises the hash."""
        bits = "-" if self.bits is None else f"{self.bits:016x}"
        return f"{self.checksum} {bits} {base64.b64encode(self.thumbnail).decode('ascii')}"

    @classmethod
    def from_text(cls, text: str) -> ImageHash:
        """Restores a hash that `to_text` wrote.

        Raises:
            ValueError: the text is no hash.
        """
        checksum, bits, thumbnail = text.split(" ")
        return cls(checksum, None if bits == "-" else int(bits, 16), base64.b64decode(thumbnail))


def hash_image(jpeg: bytes) -> ImageHash:
    """The hash of a stored image.

    Raises:
        ValueError: the bytes are no JPEG.
    """
    import cv2  # here, because --help and mistyped options need no OpenCV

    grey = _decode_grey(jpeg)
    thumbnail = cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    bits = None
    if float(thumbnail.std()) >= MIN_CONTRAST:
        areas = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
        bits = int.from_bytes(np.packbits(np.diff(areas, axis=1) > MIN_STEP).tobytes(), "big")
    return ImageHash(hashlib.sha256(jpeg).hexdigest()[:32], bits, thumbnail.tobytes())


def _decode_grey(jpeg: bytes) -> NDArray[np.uint8]:
    """Grey levels of a JPEG at about a quarter of its size; decoding at that size takes 0.4 ms for 512 pixels."""
    import cv2

    data = np.frombuffer(jpeg, np.uint8)
    grey = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_4) if data.size else None
    if grey is not None and min(grey.shape) < _MIN_DECODED_SIDE:
        grey = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError("not a JPEG")
    return np.asarray(grey, dtype=np.uint8)


def group_images(hashes: Sequence[ImageHash]) -> list[int]:
    """The group of each image: the number of the first image that it equals, directly or through others.

    Args:
        hashes: of n images.

    Returns:
        n numbers in [0, n); an image that equals no earlier one has its own number.
    """
    first = list(range(len(hashes)))

    def root(number: int) -> int:
        while first[number] != number:
            first[number] = first[first[number]]
            number = first[number]
        return number

    for one, other in itertools.chain(_byte_equal(hashes), _near_equal(hashes)):
        low, high = sorted((root(one), root(other)))
        first[high] = low
    return [root(number) for number in range(len(hashes))]


def _byte_equal(hashes: Sequence[ImageHash]) -> Iterator[tuple[int, int]]:
    first_of: dict[str, int] = {}
    for number, image in enumerate(hashes):
        yield first_of.setdefault(image.checksum, number), number


def _near_equal(hashes: Sequence[ImageHash]) -> Iterator[tuple[int, int]]:
    """Pairs of near-equal images.

    Of two hashes that differ in at most three bits, one of four parts of 16 bits is equal, so that only images with an
    equal part are compared, and of these only those of about equal brightness.
    """
    hashed = [number for number, image in enumerate(hashes) if image.bits is not None]
    if not hashed:
        return
    bits = np.array([hashes[number].bits for number in hashed], dtype=">u8").view(np.uint8).reshape(-1, 8)
    greys = np.stack([np.frombuffer(hashes[number].thumbnail, np.uint8) for number in hashed])
    thumbnails = greys.astype(np.float32)
    brightness = thumbnails.mean(axis=1)
    for part in bits.view(np.uint16).T:
        # Sorted by part, then brightness: an image is compared with those that follow it closely.
        order = np.lexsort((brightness, part))
        starts = np.flatnonzero(np.diff(part[order], prepend=-1, append=-1))
        for start, end in itertools.pairwise(starts):
            for one, other in _compare(order[start:end], bits, thumbnails, brightness):
                yield hashed[one], hashed[other]


def _compare(
    members: NDArray[np.int64],
    bits: NDArray[np.uint8],
    thumbnails: NDArray[np.float32],
    brightness: NDArray[np.float32],
) -> Iterator[tuple[int, int]]:
    """The near-equal pairs among images that are sorted by brightness."""
    levels = brightness[members]
    # The mean difference of two thumbnails is at least the difference of their means.
    ends = np.searchsorted(levels, levels + MAX_THUMBNAIL_DIFFERENCE + 0.01, side="right")
    for place, one in enumerate(members[:-1].tolist()):
        others = members[place + 1 : ends[place]]
        near = others[_NUM_ONES[bits[others] ^ bits[one]].sum(axis=1) <= MAX_DIFFERENT_BITS]
        if len(near):
            alike = _are_alike(thumbnails[one], thumbnails[near])
            yield from ((one, other) for other in near[alike].tolist())


def _are_alike(one: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether thumbnails with contrast, (256,) and (n, 256), are those of one image; (n,)."""
    covariances = ((one - one.mean()) * (others - others.mean(axis=1, keepdims=True))).mean(axis=1)
    are_correlated = covariances >= MIN_CORRELATION * one.std() * others.std(axis=1)
    return are_correlated & (np.abs(others - one).mean(axis=1) <= MAX_THUMBNAIL_DIFFERENCE)
