"""Image files of every kind to RGB and place, the part of a tile that is stored, and JPEG there and back."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from shards.decoding.imagery import decode_jpeg, encode_jpeg, load_image, read_place, stored_image
from shards.errors import RejectedPair

WGS84 = CRS.from_epsg(4326)


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth picture whose channels and axes differ, uint8 (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([255 * rows // height, 255 * columns // width, 128 + 0 * rows], axis=-1).astype(np.uint8)


def write_raster(path: Path, bands: np.ndarray, driver: str = "GTiff", **options: object) -> Path:
    """Writes (bands, height, width)."""
    count, height, width = bands.shape
    profile = {"driver": driver, "count": count, "height": height, "width": width, "dtype": bands.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(bands)
    return path


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


def test_a_place_is_read_without_a_pixel(tmp_path: Path) -> None:
    # A raster of 40 billion pixels of which none is in the file.
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=200_000, height=200_000, count=3, dtype="uint8", tiled=True,
        crs="EPSG:4326", transform=from_origin(7, 51, 1e-5, 1e-5), SPARSE_OK=True, compress="deflate", blockxsize=4096,
        blockysize=4096,
    ):  # fmt: skip
        pass
    assert read_place(tmp_path / "a.tif") == pytest.approx((8, 50))
    Image.fromarray(scene()).save(tmp_path / "b.tif", format="JPEG")
    assert read_place(tmp_path / "b.tif") == (None, None)
    (tmp_path / "c.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:20])
    for name, reason in (("c.tif", "undecodable image"), ("d.tif", "missing image")):
        with pytest.raises(RejectedPair, match=reason):
            read_place(tmp_path / name)


def test_the_format_is_told_from_the_content(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg", format="PNG")
    Image.fromarray(scene()).save(tmp_path / "b.png", format="TIFF")
    assert np.array_equal(load_image(tmp_path / "a.jpg").rgb, scene())
    assert np.array_equal(load_image(tmp_path / "b.png").rgb, scene())


@pytest.mark.parametrize(("driver", "name"), [("GTiff", "a.tif"), ("PNG", "a.png")])
def test_16_bits_are_scaled_from_the_given_range(tmp_path: Path, driver: str, name: str) -> None:
    values = np.moveaxis(scene(), -1, 0).astype(np.uint16) * 10 + 500
    write_raster(tmp_path / name, values, driver)
    loaded = load_image(tmp_path / name, scale_range=(500, 3050)).rgb
    assert np.array_equal(loaded, scene())
    darker = load_image(tmp_path / name, scale_range=(500, 5600)).rgb
    np.testing.assert_allclose(darker, scene() / 2, atol=0.51)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint32"])
def test_without_a_range_the_percentiles_are_stretched(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).uniform(200, 9_000, (3, 90, 90)).astype(dtype)
    values[0, 0, 0] = 30_000  # one glint must not darken the rest
    loaded = load_image(write_raster(tmp_path / "a.tif", values)).rgb
    low, high = np.percentile(values, [2, 98])
    expected = np.clip((np.moveaxis(values, 0, -1) - low) / (high - low) * 255, 0, 255)
    np.testing.assert_allclose(loaded, expected, atol=0.51)
    assert 0.015 < (loaded == 255).mean() < 0.025


def test_bands_are_chosen_and_counted_from_1(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.uint8)[:, None, None] * 20 + np.zeros((8, 40, 40), np.uint8)
    path = write_raster(tmp_path / "a.tif", values)
    assert load_image(path).rgb[0, 0].tolist() == [0, 20, 40]
    assert load_image(path, bands=(4, 3, 2)).rgb[0, 0].tolist() == [60, 40, 20]
    raised = rejection(path, bands=(9, 3, 2))
    assert raised.reason == "missing image band"
    assert "band 9 of 8" in raised.detail
    with pytest.raises(ValueError, match="counted from 1"):
        load_image(path, bands=(0, 1, 2))


def test_pixels_without_data_are_black_and_do_not_count(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1000, 2000, (3, 50, 50)).astype(np.float32)
    values[:, :20] = -9999.0
    values[:, 20, 0] = np.nan
    loaded = load_image(write_raster(tmp_path / "a.tif", values, nodata=-9999.0)).rgb
    assert (loaded[:20] == 0).all()
    assert (loaded[20, 0] == 0).all()
    assert 120 < loaded[21:].mean() < 135


def test_a_raster_of_one_value_or_without_data_is_no_error(tmp_path: Path) -> None:
    flat = write_raster(tmp_path / "a.tif", np.full((3, 40, 40), 700, np.uint16))
    empty = write_raster(tmp_path / "b.tif", np.zeros((3, 40, 40), np.uint16), nodata=0)
    assert (load_image(flat).rgb == 0).all()
    assert (load_image(empty).rgb == 0).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("epsg", "longitude", "latitude", "pixel"),
    [(32632, 9.0, 48.0, 10.0), (32719, -70.5, -33.4, 0.5), (3857, 139.7, 35.7, 1.2), (4326, -0.1, 51.5, 1e-5)],
)
def test_the_centre_of_a_geotiff_is_its_place(
    tmp_path: Path, epsg: int, longitude: float, latitude: float, pixel: float, dtype: str
) -> None:
    (x,), (y,) = transform(WGS84, CRS.from_epsg(epsg), [longitude], [latitude])
    corner = from_origin(x - 50 * pixel, y + 32 * pixel, pixel, pixel)
    values = np.random.default_rng(0).integers(0, 200, (3, 64, 100)).astype(dtype)
    image = load_image(write_raster(tmp_path / "a.tif", values, crs=CRS.from_epsg(epsg), transform=corner))
    assert image.longitude == pytest.approx(longitude, abs=1e-7)
    assert image.latitude == pytest.approx(latitude, abs=1e-7)
    assert image.rgb.shape == (64, 100, 3)


def test_the_centre_of_a_rotated_geotiff(tmp_path: Path) -> None:
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turned = Affine(1e-4 * cosine, 1e-4 * sine, 10.0, 1e-4 * sine, -1e-4 * cosine, 50.0)
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 64, 100), np.uint8), crs=WGS84, transform=turned)
    image = load_image(path)
    assert image.longitude == pytest.approx(10 + 1e-4 * (50 * cosine + 32 * sine), abs=1e-9)
    assert image.latitude == pytest.approx(50 + 1e-4 * (50 * sine - 32 * cosine), abs=1e-9)


def test_a_place_off_the_earth_is_none(tmp_path: Path) -> None:
    far = from_origin(500.0, 50.0, 1.0, 1.0)
    image = load_image(write_raster(tmp_path / "a.tif", np.zeros((3, 40, 40), np.uint8), crs=WGS84, transform=far))
    assert (image.longitude, image.latitude) == (None, None)


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


def test_an_empty_range_is_a_bad_argument(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="low < high"):
        load_image(tmp_path / "a.tif", scale_range=(5.0, 5.0))


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
