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
"""… and their thumbnails of 16 × 16 pixels differ on average by at most this number of grey levels of 255, with at
least this correlation: two stretches of water with a boat each differ by little, but are not correlated."""

MIN_STEP = 2
"""Neighbouring areas that differ by no more grey levels count as equal, so that noise in even areas changes no bit."""

MIN_CONTRAST = 8.0
"""An image whose thumbnail has a smaller standard deviation in grey levels, as of open water, desert or an even forest,
has no hash: it equals only images of the same bytes."""

THUMBNAIL_SIDE = 16
_MIN_DECODED_SIDE = 64
_NUM_ONES = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)
_THUMBNAILS_AT_ONCE = 4096
_PARTS = [sum(1 << bit for bit in range(64) if bit * 5 // 64 == part) for part in range(5)]
_MASKS = [np.uint64(one | other) for one, other in itertools.combinations(_PARTS, 2)]
"""Two of the five parts of a hash."""


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

    Of two hashes that differ in at most three bits, two of five parts are equal, so that only images with two equal
    parts are compared, and of these only those of about equal brightness: ten times a sorted list, and among a million
    random hashes 70,000 comparisons (Manku et al. 2007).
    """
    distinct = dict.fromkeys(image.checksum for image in hashes)
    hashed = []
    for number, image in enumerate(hashes):
        if image.bits is not None and image.checksum in distinct:
            del distinct[image.checksum]
            hashed.append(number)
    numbers = np.array(hashed, dtype=np.int64)
    bits = np.array([hashes[number].bits for number in hashed], dtype=np.uint64)
    brightness = np.empty(len(hashed), dtype=np.float32)
    for start in range(0, len(hashed), _THUMBNAILS_AT_ONCE):
        part = slice(start, start + _THUMBNAILS_AT_ONCE)
        brightness[part] = _thumbnails(hashes, numbers[part]).mean(axis=1)
    for which, mask in enumerate(_MASKS):
        for one, other in _candidates(bits & mask, brightness):
            different = bits[one] ^ bits[other]
            near = _NUM_ONES[different.view(np.uint8).reshape(-1, 8)].sum(axis=1) <= MAX_DIFFERENT_BITS
            for earlier in _MASKS[:which]:  # under which these have been compared
                near &= different & earlier != 0
            one, other = numbers[one[near]], numbers[other[near]]
            for start in range(0, len(one), _THUMBNAILS_AT_ONCE):
                ones, others = (part[start : start + _THUMBNAILS_AT_ONCE] for part in (one, other))
                alike = _are_alike(_thumbnails(hashes, ones), _thumbnails(hashes, others))
                yield from zip(ones[alike].tolist(), others[alike].tolist(), strict=True)


def _thumbnails(hashes: Sequence[ImageHash], numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """The thumbnails of some images, (n, 256)."""
    joined = b"".join(hashes[number].thumbnail for number in numbers)
    return np.frombuffer(joined, np.uint8).reshape(-1, THUMBNAIL_SIDE**2).astype(np.float32)


def _candidates(
    parts: NDArray[np.uint64], brightness: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs of images with equal parts and about equal brightness, as two arrays at a time.

    In the order of the parts, then brightness, the images that one is compared with follow it closely: first all are
    compared with the next, then those that still have one with the next but one, and so on.
    """
    order = np.lexsort((brightness, parts))
    parts, brightness = parts[order], brightness[order]
    places, distance = np.arange(len(order)), 1
    while len(places := places[places < len(order) - distance]):
        others = places + distance
        # The mean difference of two thumbnails is at least the difference of their means.
        is_close = brightness[others] <= brightness[places] + (MAX_THUMBNAIL_DIFFERENCE + 0.01)
        places = places[is_close & (parts[others] == parts[places])]
        yield order[places], order[places + distance]
        distance += 1


def _are_alike(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each two thumbnails with contrast, both (n, 256), are those of one image; (n,)."""
    centred = [images - images.mean(axis=1, keepdims=True) for images in (ones, others)]
    covariances = (centred[0] * centred[1]).mean(axis=1)
    are_correlated = covariances >= MIN_CORRELATION * ones.std(axis=1) * others.std(axis=1)
    return are_correlated & (np.abs(others - ones).mean(axis=1) <= MAX_THUMBNAIL_DIFFERENCE)
