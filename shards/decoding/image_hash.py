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
    """Pairs of near-equal images; of images with equal bytes, the first stands for all.

    Of two hashes that differ in at most three bits, one of four parts of 16 bits is equal, so that only images with an
    equal part are compared, and of these only those of about equal brightness.
    """
    distinct = dict.fromkeys(image.checksum for image in hashes)
    hashed = []
    for number, image in enumerate(hashes):
        if image.bits is not None and image.checksum in distinct:
            del distinct[image.checksum]
            hashed.append(number)
    if not hashed:
        return
    numbers = np.array(hashed)
    bits = np.array([hashes[number].bits for number in hashed], dtype=">u8").view(np.uint8).reshape(-1, 8)
    thumbnails = np.stack([np.frombuffer(hashes[number].thumbnail, np.uint8) for number in hashed])
    brightness = thumbnails.mean(axis=1, dtype=np.float32)
    for part in bits.view(np.uint16).T:
        for one, other in _candidates(part, brightness):
            near = _NUM_ONES[bits[one] ^ bits[other]].sum(axis=1) <= MAX_DIFFERENT_BITS
            one, other = one[near], other[near]
            alike = _are_alike(thumbnails[one].astype(np.float32), thumbnails[other].astype(np.float32))
            yield from zip(numbers[one[alike]].tolist(), numbers[other[alike]].tolist(), strict=True)


def _candidates(
    part: NDArray[np.uint16], brightness: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs of images with an equal part and about equal brightness, as two arrays at a time.

    In the order of part, then brightness, the images that one is compared with follow it closely: first all are
    compared with the next, then those that still have one with the next but one, and so on.
    """
    order = np.lexsort((brightness, part))
    part, brightness = part[order], brightness[order]
    places, distance = np.arange(len(order)), 1
    while len(places := places[places < len(order) - distance]):
        others = places + distance
        # The mean difference of two thumbnails is at least the difference of their means.
        is_close = brightness[others] <= brightness[places] + (MAX_THUMBNAIL_DIFFERENCE + 0.01)
        places = places[is_close & (part[others] == part[places])]
        yield order[places], order[places + distance]
        distance += 1


def _are_alike(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each two thumbnails with contrast, both (n, 256), are those of one image; (n,)."""
    centred = [images - images.mean(axis=1, keepdims=True) for images in (ones, others)]
    covariances = (centred[0] * centred[1]).mean(axis=1)
    are_correlated = covariances >= MIN_CORRELATION * ones.std(axis=1) * others.std(axis=1)
    return are_correlated & (np.abs(others - ones).mean(axis=1) <= MAX_THUMBNAIL_DIFFERENCE)
