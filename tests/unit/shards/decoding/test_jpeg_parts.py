"""Parts of JPEGs: to the bit the pixels of the whole, whatever the image's size, and refused where it is damaged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from shards.decoding.imagery import encode_jpeg
from shards.decoding.jpeg_parts import Box, blocks_between_markers, decode_part, decode_whole, image_shape


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Edges and colours that change from pixel to pixel, which chroma interpolation smears over its neighbours."""
    generator = np.random.default_rng(seed)
    rgb = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    rgb[: height // 2, : width // 3] = (200, 30, 90)
    return rgb


def saved(rgb: NDArray[np.uint8], **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format="JPEG", **options)
    return file.getvalue()


def cut_from(whole: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    return whole[box.top : box.top + box.height, box.left : box.left + box.width]


@given(data=st.data(), height=st.integers(1, 150), width=st.integers(1, 150))
def test_a_part_is_what_the_whole_shows_there(data: st.DataObject, height: int, width: int) -> None:
    jpeg = encode_jpeg(picture(height, width))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(top, left, data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left)))
    np.testing.assert_array_equal(decode_part(jpeg, box), cut_from(decode_whole(jpeg), box))


def test_only_little_more_than_the_part_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from shards.decoding import jpeg_parts

    shapes = []

    def decode(jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = undisturbed(jpeg)
        shapes.append(pixels.shape[:2])
        return pixels

    undisturbed = jpeg_parts._decode
    jpeg, box = encode_jpeg(picture(512, 512)), Box(100, 200, 192, 192)
    monkeypatch.setattr(jpeg_parts, "_decode", decode)
    decode_part(jpeg, box)
    # Rows 96 to 304 in steps of 16, columns 192 to 448 in steps of 64.
    assert shapes == [(208, 256)]


def test_markers_cost_about_a_hundredth() -> None:
    smooth = np.asarray(Image.fromarray(picture(128, 128)).resize((512, 512)))
    assert 1 < len(encode_jpeg(smooth)) / len(saved(smooth, quality=90, subsampling="4:2:0")) < 1.03


@pytest.mark.parametrize(
    ("width", "blocks"), [(512, 4), (256, 4), (400, 5), (300, 19), (96, 6), (64, 4), (40, 3), (1, 1)]
)
def test_every_row_of_blocks_begins_after_a_marker(width: int, blocks: int) -> None:
    assert blocks_between_markers(width) == blocks
    assert -(-width // 16) % blocks == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": "4:4:4", "restart_marker_blocks": 3},
        {"subsampling": "4:2:2", "restart_marker_rows": 1},
        {"restart_marker_blocks": 7},
        {"progressive": True, "restart_marker_rows": 1},
    ],
)
def test_other_jpegs_give_the_same_parts(options: dict[str, object]) -> None:
    jpeg, box = saved(picture(100, 130), **options), Box(37, 41, 50, 60)
    assert image_shape(jpeg) == (100, 130)
    np.testing.assert_array_equal(decode_part(jpeg, box), cut_from(decode_whole(jpeg), box))


def test_a_grey_jpeg_becomes_rgb() -> None:
    jpeg = saved(picture(100, 100)[..., 0], restart_marker_blocks=1)
    assert decode_part(jpeg, Box(10, 20, 30, 40)).shape == (30, 40, 3)


@pytest.mark.parametrize("kept", [0, 2, 20, 300, -2])
def test_what_is_cut_short_is_refused(kept: int) -> None:
    jpeg = encode_jpeg(picture(64, 64))[:kept]
    with pytest.raises(ValueError, match="not a complete JPEG"):
        decode_part(jpeg, Box(0, 0, 8, 8))


def test_a_jpeg_that_lost_a_marker_is_decoded_as_a_whole() -> None:
    jpeg = encode_jpeg(picture(64, 128))
    damaged = jpeg.replace(b"\xff\xd1", b"\x00\x00", 1)
    box = Box(4, 4, 8, 8)  # before the damage
    np.testing.assert_array_equal(decode_part(damaged, box), cut_from(decode_whole(damaged), box))


@pytest.mark.parametrize("box", [Box(-1, 0, 8, 8), Box(0, 0, 0, 8), Box(60, 0, 8, 8), Box(0, 60, 8, 8)])
def test_a_part_must_be_within_the_image(box: Box) -> None:
    with pytest.raises(ValueError, match="Box"):
        decode_part(encode_jpeg(picture(64, 64)), box)
