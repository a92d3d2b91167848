"""Rasters come out north up, and TIFFs with an orientation tag as viewers show them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from raster_files import bands_of, scene, write_raster
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from shards.decoding import orientation as orientation_module
from shards.decoding.imagery import load_image
from shards.decoding.orientation import tiff_orientation, turned_by_tag
from shards.errors import RejectedPair

UTM = CRS.from_epsg(32632)
CORNER = (500_000.0, 5_500_000.0)


def stored(right_angles: int, *, flipped: bool) -> tuple[np.ndarray, Affine]:
    """The scene as a raster whose rows and columns are turned, and the transform that says where it lies."""
    north_up = scene()
    height, width = north_up.shape[:2]
    # Where each pixel of the scene lies, so that the transform can be read off the turned array.
    xs, ys = np.meshgrid(CORNER[0] + np.arange(width) + 0.5, CORNER[1] - np.arange(height) - 0.5)
    arrays = [np.rot90(array, right_angles) for array in (north_up, xs, ys)]
    pixels, xs, ys = (array[:, ::-1] for array in arrays) if flipped else arrays
    a, d = xs[0, 1] - xs[0, 0], ys[0, 1] - ys[0, 0]
    b, e = xs[1, 0] - xs[0, 0], ys[1, 0] - ys[0, 0]
    transform = Affine(a, b, xs[0, 0] - (a + b) / 2, d, e, ys[0, 0] - (d + e) / 2)
    return pixels, transform


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("right_angles", range(4))
@pytest.mark.parametrize("with_system", [True, False])
def test_a_raster_comes_out_north_up_however_it_is_stored(
    tmp_path: Path, right_angles: int, flipped: bool, with_system: bool
) -> None:
    pixels, transform = stored(right_angles, flipped=flipped)
    options = {"crs": UTM} if with_system else {}
    path = write_raster(tmp_path / "a.tif", bands_of(pixels), transform=transform, **options)
    image = load_image(path)
    assert np.array_equal(image.rgb, scene())
    if with_system:
        straight = write_raster(
            tmp_path / "b.tif", bands_of(scene()), transform=Affine(1, 0, CORNER[0], 0, -1, CORNER[1]), crs=UTM
        )
        other = load_image(straight)
        assert (image.longitude, image.latitude) == pytest.approx((other.longitude, other.latitude), abs=1e-9)


@given(st.floats(3, 87), st.integers(0, 3), st.booleans())
def test_a_raster_at_an_angle_is_resampled_as_gdal_resamples_it(
    tmp_path_factory: pytest.TempPathFactory, degrees: float, quadrant: int, mirrored: bool
) -> None:
    pixels = scene(60, 80)
    turned = (
        Affine.translation(*CORNER) * Affine.rotation(degrees + 90 * quadrant) * Affine.scale(2, 2 if mirrored else -2)
    )
    path = write_raster(tmp_path_factory.mktemp("angle") / "a.tif", bands_of(pixels), transform=turned, crs=UTM)
    rgb = load_image(path).rgb

    corners = np.array([turned * corner for corner in ((0, 0), (80, 0), (0, 60), (80, 60))])
    (west, south), (east, north) = corners.min(0), corners.max(0)
    assert rgb.shape[:2] == (round((north - south) / 2), round((east - west) / 2))
    expected = np.zeros((3, *rgb.shape[:2]), np.uint8)
    upright = Affine(2, 0, west, 0, -2, north)
    covered = np.zeros((1, *rgb.shape[:2]), np.uint8)
    for source, target, method in (
        (bands_of(pixels), expected, Resampling.bilinear),
        (np.full((1, 60, 80), 255, np.uint8), covered, Resampling.nearest),
    ):
        reproject(
            source, target, src_transform=turned, dst_transform=upright, src_crs=UTM, dst_crs=UTM, resampling=method
        )
    # Edges are blended with black here, and with nothing there.
    inside = covered[0] > 0
    inside[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    inside[[0, -1]], inside[:, [0, -1]] = False, False
    assert inside.sum() > 60 * 80 * 0.8
    difference = np.abs(rgb.astype(int) - np.moveaxis(expected, 0, -1))[inside]
    assert difference.max() <= 4
    assert (rgb[covered[0] == 0].mean() if (covered == 0).any() else 0) < 20


def test_an_angle_too_small_to_move_a_pixel_is_left_alone(tmp_path: Path) -> None:
    turned = Affine.translation(*CORNER) * Affine.rotation(0.2) * Affine.scale(1, -1)
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), transform=turned, crs=UTM)
    assert np.array_equal(load_image(path).rgb, scene())
    turned = Affine.translation(*CORNER) * Affine.rotation(2) * Affine.scale(1, -1)
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), transform=turned, crs=UTM)
    assert load_image(path).rgb.shape != scene().shape


def test_a_raster_at_an_angle_that_is_too_large_is_refused_by_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orientation_module, "MAX_RESAMPLED_SIDE", 70)
    turned = Affine.translation(*CORNER) * Affine.rotation(30) * Affine.scale(1, -1)
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), transform=turned, crs=UTM)
    with pytest.raises(RejectedPair, match=r"a\.tif: a raster at an angle to north, of 80 × 60 pixels; only up to 70"):
        load_image(path)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_of_a_tiff_is_applied(tmp_path: Path, orientation: int, deep: bool) -> None:
    picture = Image.fromarray(scene()[..., 0].astype(np.uint16) if deep else scene())
    path = tmp_path / "a.tif"
    picture.save(path, tiffinfo={274: orientation})
    reference = Image.fromarray(scene())
    reference.getexif()[274] = orientation
    expected = np.array(ImageOps.exif_transpose(reference))
    loaded = load_image(path).rgb
    if deep:
        # Grey, stretched: compared by its order.
        assert loaded.shape == expected.shape
        assert np.corrcoef(loaded[..., 0].ravel(), expected[..., 0].ravel())[0, 1] > 0.999
    else:
        assert np.array_equal(loaded, expected)


@given(st.integers(1, 8), st.integers(2, 7), st.integers(2, 7))
def test_any_image_is_turned_as_pillow_turns_it(orientation: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.getexif()[274] = orientation
    assert np.array_equal(turned_by_tag(pixels, orientation), np.array(ImageOps.exif_transpose(picture)))


def test_a_georeferenced_tiff_follows_its_transform_alone(tmp_path: Path) -> None:
    transform = Affine(1, 0, CORNER[0], 0, -1, CORNER[1])
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), transform=transform, crs=UTM)
    content = bytearray(path.read_bytes())
    # PlanarConfiguration (284), which is 1, becomes an orientation of 3; GDAL then assumes the same planes.
    where = content.index(struct.pack("<HHI", 284, 3, 1))
    content[where : where + 10] = struct.pack("<HHIH", 274, 3, 1, 3)
    path.write_bytes(content)
    if tiff_orientation(path) != 3:
        pytest.fail("the tag was not written")
    assert np.array_equal(load_image(path).rgb, scene())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_tag_is_found_in_both_byte_orders_and_in_large_files(tmp_path: Path, order: str, big: bool) -> None:
    mark = b"II" if order == "<" else b"MM"
    width, orientation = (256, 3, 1, 80), (274, 3, 1, 7)
    if big:
        head = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, 16)
        directory = struct.pack(f"{order}Q", 2)
        directory += b"".join(struct.pack(f"{order}HHQH6x", *entry) for entry in (width, orientation))
    else:
        head = mark + struct.pack(f"{order}HI", 42, 8)
        directory = struct.pack(f"{order}H", 2)
        directory += b"".join(struct.pack(f"{order}HHIH2x", *entry) for entry in (width, orientation))
    (tmp_path / "a.tif").write_bytes(head + directory)
    assert tiff_orientation(tmp_path / "a.tif") == 7
    for length in range(len(head + directory) - 9):
        (tmp_path / "cut.tif").write_bytes((head + directory)[:length])
        assert tiff_orientation(tmp_path / "cut.tif") == 1
