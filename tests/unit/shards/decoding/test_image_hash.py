"""Same images: byte-equal or near-equal, where an image has enough contrast to say so; others never."""

from __future__ import annotations

import io
import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shards.decoding.image_hash import ImageHash, group_images, hash_image


def scene(seed: int, side: int = 256) -> NDArray[np.uint8]:
    """Fields of different brightness under fine texture."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(20, 236, (6, 6, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    image += generator.integers(-12, 12, image.shape, dtype=np.int16)
    return np.clip(image, 0, 255).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8], quality: int = 90) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="JPEG", quality=quality)
    return encoded.getvalue()


def groups(*images: bytes) -> list[int]:
    return group_images([hash_image(image) for image in images])


def test_encoding_and_size_leave_an_image_the_same() -> None:
    original = scene(0)
    smaller = cv2.resize(original, (180, 180), interpolation=cv2.INTER_AREA)
    brighter = np.clip(original.astype(np.int16) + 2, 0, 255).astype(np.uint8)
    assert groups(jpeg(scene(1)), jpeg(original), jpeg(original, 60), jpeg(smaller), jpeg(brighter)) == [0, 1, 1, 1, 1]


def test_other_images_are_others() -> None:
    images = [scene(seed) for seed in range(60)]
    flipped = [np.ascontiguousarray(image[:, ::-1]) for image in images[:5]]
    assert len(set(groups(*map(jpeg, [*images, *flipped])))) == 65


def test_water_desert_and_forest_are_the_same_only_byte_by_byte() -> None:
    def even(seed: int, level: int, grain: int) -> bytes:
        noise = np.random.default_rng(seed).integers(-grain, grain + 1, (256, 256, 1), dtype=np.int16)
        return jpeg((noise + np.array([level, level + 10, level + 30])).astype(np.uint8))

    # Water, desert and forest of two places each, then the first water once more.
    plain = [even(seed, level, grain) for level, grain in ((40, 2), (180, 4), (90, 40)) for seed in (0, 1)]
    assert all(hash_image(image).bits is None for image in plain)
    assert groups(*plain, plain[0]) == [0, 1, 2, 3, 4, 5, 0]


def test_a_like_outline_of_other_brightness_is_another_image() -> None:
    coast = np.full((256, 256, 3), 40, np.uint8)
    coast[:, 128:] = 90
    bright = coast.copy()
    bright[:, 128:] = 200
    one, other = hash_image(jpeg(coast)), hash_image(jpeg(bright))
    assert one.bits == other.bits is not None
    assert group_images([one, other]) == [0, 1]


def water(seed: int) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).integers(-3, 4, (256, 256, 1)) + np.array([30, 50, 90])).astype(np.uint8)


def test_a_boat_on_water_is_not_another_boat() -> None:
    boats = []
    for seed, (x, y) in enumerate(((20, 30), (200, 90), (120, 220))):
        image = water(seed)
        image[y : y + 20, x : x + 20] = 230
        boats.append(jpeg(image))
    assert all(hash_image(boat).bits is not None for boat in boats)
    assert groups(*boats) == [0, 1, 2]


def test_even_parts_do_not_hide_a_repeated_image() -> None:
    half = scene(4)
    half[:, :128] = water(0)[:, :128]
    assert groups(*(jpeg(half, quality) for quality in (95, 80, 60, 40))) == [0, 0, 0, 0]


def test_groups_are_those_of_a_plain_comparison() -> None:
    generator = np.random.default_rng(0)
    hashes = []
    for number in range(80):
        bits = int(generator.integers(0, 2**64, dtype=np.uint64)) if number % 4 == 0 else hashes[-1].bits
        for place in generator.choice(64, int(generator.integers(0, 6)), replace=False):
            bits ^= 1 << int(place)
        level = 100 + int(generator.integers(0, 6))
        thumbnail = np.tile(np.array([level - 50, level + 50], np.uint8), 128).tobytes()
        hashes.append(ImageHash(str(number), bits, thumbnail))
    expected = list(range(80))
    for one, other in itertools.combinations(range(80), 2):
        difference = abs(hashes[one].thumbnail[0] - hashes[other].thumbnail[0])  # both vary alike
        if (hashes[one].bits ^ hashes[other].bits).bit_count() <= 3 and difference <= 4:
            low, high = sorted((expected[one], expected[other]))
            expected = [low if group == high else group for group in expected]
    assert len(set(expected)) < 80
    assert group_images(hashes) == expected


def test_a_hash_survives_its_text() -> None:
    for pixels in (scene(3), np.full((64, 64, 3), 9, np.uint8)):
        found = hash_image(jpeg(pixels))
        assert ImageHash.from_text(found.to_text()) == found
    assert group_images([]) == []
    for bad in (b"", b"no image"):
        with pytest.raises(ValueError, match="not a JPEG"):
            hash_image(bad)


def literal_groups(hashes: list[ImageHash]) -> list[int]:
    """All with all, and groups joined until nothing changes."""
    thumbnails = [np.frombuffer(image.thumbnail, np.uint8).astype(float) for image in hashes]

    def are_same(one: int, other: int) -> bool:
        first, second = hashes[one], hashes[other]
        if first.checksum == second.checksum:
            return True
        if first.bits is None or second.bits is None or (first.bits ^ second.bits).bit_count() > 3:
            return False
        grey, other_grey = thumbnails[one], thumbnails[other]
        is_close = np.abs(grey - other_grey).mean() <= 4
        return bool(is_close and np.corrcoef(grey, other_grey)[0, 1] >= 0.97)

    found = list(range(len(hashes)))
    for one, other in itertools.combinations(range(len(hashes)), 2):
        if are_same(one, other):
            low, high = sorted((found[one], found[other]))
            found = [low if group == high else group for group in found]
    return found


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_those_of_comparing_all_with_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texture = rng.integers(-40, 40, 256)
    hashes = []
    for number in range(150):
        bits = int(rng.integers(2**40)) ^ sum(1 << int(bit) for bit in rng.integers(64, size=rng.integers(5)))
        if hashes and rng.random() < 0.7:
            near = hashes[rng.integers(len(hashes))].bits
            bits = bits if near is None else near ^ sum(1 << int(bit) for bit in set(rng.integers(64, size=2)))
        grey = np.clip(rng.integers(60, 180) // 5 * 5 + texture + rng.integers(-2, 3, 256), 0, 255)
        image = ImageHash(str(number), None if rng.random() < 0.1 else bits, grey.astype(np.uint8).tobytes())
        # Some are byte for byte one of the others.
        hashes.append(image if rng.random() < 0.9 or not hashes else hashes[rng.integers(len(hashes))])
    groups = group_images(hashes)
    assert groups == literal_groups(hashes)
    assert 10 < len(set(groups)) < 140
