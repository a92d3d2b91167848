"""Pictures of every kind to RGB, the part of a tile that is stored, and JPEG there and back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raster_files import scene, write_raster

from shards.decoding.imagery import decode_jpeg, encode_jpeg, load_image, stored_image
from shards.errors import RejectedPair


def rejection(path: Path, **options: object) -> RejectedPair:
    with pytest.raises(RejectedPair) as raised:
        load_image(path, **options)
    assert path.name in raised.value.detail
    return raised.value


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp"])
def test_lossless_rgb_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    Image.fromarray(scene()).save(tmp_path / name, lossless=True)
    image = load_image(tmp_path / name)
    assert np.array_equal(image.rgb, scene())
    assert image.rgb.dtype == np.uint8
    assert image.longitude is None
    assert image.latitude is None


@pytest.mark.parametrize(
    ("mode", "name", "tolerance"),
    [("RGB", "a.jpg", 6), ("CMYK", "a.jpg", 6), ("RGBA", "a.png", 0), ("P", "a.png", 40), ("P", "a.tif", 40)],
)
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str, name: str, tolerance: int) -> None:
    picture = Image.fromarray(scene())
    picture = picture.quantize(256) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / name, quality=95)
    loaded = load_image(tmp_path / name).rgb
    assert loaded.shape == (60, 80, 3)
    assert np.abs(loaded.astype(int) - scene()).max() <= tolerance


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_grey_becomes_rgb(tmp_path: Path, name: str) -> None:
    grey = scene()[..., 0]
    Image.fromarray(grey).save(tmp_path / name)
    loaded = load_image(tmp_path / name).rgb
    assert np.abs(loaded.astype(int) - grey[..., None]).max() <= 3


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    alpha = np.full((60, 80, 1), 255, np.uint8)
    alpha[:30] = 0
    Image.fromarray(np.concatenate([scene(), alpha], axis=-1)).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png").rgb
    assert (loaded[:30] == 0).all()
    assert np.array_equal(loaded[30:], scene()[30:])


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    loaded = load_image(tmp_path / "a.jpg").rgb.astype(int)
    assert np.abs(loaded - np.rot90(scene(), -1)).max() <= 6


def test_the_format_is_told_from_the_content(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg", format="PNG")
    Image.fromarray(scene()).save(tmp_path / "b.png", format="TIFF")
    assert np.array_equal(load_image(tmp_path / "a.jpg").rgb, scene())
    assert np.array_equal(load_image(tmp_path / "b.png").rgb, scene())


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.16.png", "a.16.tif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_image_is_rejected(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    path = tmp_path / name
    if "16" in name:
        deep = np.moveaxis(noise, -1, 0).astype(np.uint16) * 255
        write_raster(path, deep, "PNG" if name.endswith("png") else "GTiff")
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    raised = rejection(path)
    assert raised.reason in ("truncated image", "undecodable image")
    if name == "a.jpg":
        assert raised.reason == "truncated image"


@pytest.mark.parametrize(
    "content", [b"", b"text", b"II*\0", b"MM\0*garbage", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(40)]
)
def test_what_is_no_image_is_undecodable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    raised = rejection(tmp_path / "a.jpg")
    assert raised.reason in ("undecodable image", "truncated image")
    assert str(tmp_path) not in raised.detail


def test_missing_and_tiny_images(tmp_path: Path) -> None:
    assert rejection(tmp_path / "a.jpg").reason == "missing image"
    Image.fromarray(scene(31, 80)).save(tmp_path / "b.png")
    assert rejection(tmp_path / "b.png").reason == "image too small"


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_decompression_bomb_is_rejected_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.png":
        Image.new("1", (16_000, 16_000)).save(path)
    else:
        write_raster(path, np.zeros((1, 16_000, 16_000), np.uint8), compress="deflate", tiled=True)
    raised = rejection(path)
    assert raised.reason == "undecodable image"
    assert "limit" in raised.detail


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(1024, 1024, 512), (512, 512, 512), (256, 256, 256), (513, 513, 256), (400, 300, 300), (600, 900, 300)],
)
def test_the_stored_part_is_the_centre(height: int, width: int, side: int) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    rgb = np.stack([rows % 256, columns % 256, rows // 256 + 16 * (columns // 256)], axis=-1).astype(np.uint8)
    stored = stored_image(rgb)
    assert stored.shape == (side, side, 3)
    assert stored.flags.c_contiguous
    top, left = (height - side) // 2, (width - side) // 2
    assert np.array_equal(stored, rgb[top : top + side, left : left + side])
    assert stored_image(rgb, max_whole_side=2000).shape[0] == min(height, width)


def test_jpeg_there_and_back() -> None:
    encoded = encode_jpeg(scene())
    assert encoded == encode_jpeg(scene().copy())
    assert Image.open(io.BytesIO(encoded)).getexif() == {}
    assert encoded.count(b"Exif") == encoded.count(b"http") == 0
    decoded = decode_jpeg(encoded)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - scene()).max() <= 8
    assert np.abs(decoded.astype(int) - np.array(Image.open(io.BytesIO(encoded)))).max() <= 2
    assert len(encode_jpeg(scene(), quality=50)) < len(encoded) < len(encode_jpeg(scene(), quality=99))
    with pytest.raises(ValueError, match=r"quality must be in \[1, 100\], got 0"):
        encode_jpeg(scene(), quality=0)


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_decoding_bytes_that_are_no_whole_jpeg_is_an_error(cut: int) -> None:
    with pytest.raises(ValueError, match="not a complete JPEG"):
        decode_jpeg(encode_jpeg(scene())[:cut])


def test_real_tiles_load_and_are_stored(real_data: Path) -> None:
    for path, side in [("deepglobe/19627_sat.jpg", 1224), ("deepglobe/19627_mask.png", 1224)]:
        assert stored_image(load_image(real_data / path).rgb).shape == (side, side, 3)
    for path in sorted((real_data / "soundscapes" / "images").iterdir())[::50]:
        rgb = load_image(path).rgb
        assert np.array_equal(stored_image(rgb), rgb)
        decoded = decode_jpeg(encode_jpeg(rgb))
        assert np.abs(decoded.astype(int) - rgb).mean() < 4
