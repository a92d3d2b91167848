"""Rasters to RGB: bands, types, scales, no-data values, masks, transparency, and nothing but the file itself."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from raster_files import bands_of, scene, write_raster
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from shards.decoding.imagery import load_image
from shards.decoding.validity import is_transparency
from shards.errors import RejectedPair
from shards.raster_settings import RasterSettings

OVER_CORPUS = RasterSettings(scale_range=(300.0, 3500.0), scale_by="corpus")


def given_range(low: float, high: float) -> RasterSettings:
    return RasterSettings(scale_range=(low, high), scale_by="range")


@pytest.mark.parametrize(
    ("driver", "name", "options"),
    [
        ("GTiff", "a.tif", {}),
        ("GTiff", "big.tif", {"BIGTIFF": "YES"}),
        ("GTiff", "other.tif", {"ENDIANNESS": "BIG"}),
        ("PNG", "a.png", {}),
        ("JP2OpenJPEG", "a.jp2", {"QUALITY": 100, "REVERSIBLE": "YES"}),
        ("JP2OpenJPEG", "a.j2k", {"QUALITY": 100, "REVERSIBLE": "YES", "CODEC": "J2K"}),
    ],
)
def test_16_bits_are_scaled_from_the_given_range(
    tmp_path: Path, driver: str, name: str, options: dict[str, object]
) -> None:
    values = bands_of(scene()).astype(np.uint16) * 10 + 500
    write_raster(tmp_path / name, values, driver, **options)
    loaded = load_image(tmp_path / name, given_range(500, 3050)).rgb
    assert np.array_equal(loaded, scene())
    darker = load_image(tmp_path / name, given_range(500, 5600)).rgb
    np.testing.assert_allclose(darker, scene() / 2, atol=0.51)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint32", "float64"])
def test_without_a_range_the_percentiles_are_stretched(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).uniform(200, 9_000, (3, 90, 90)).astype(dtype)
    values[0, 0, 0] = 30_000  # one glint must not darken the rest
    loaded = load_image(write_raster(tmp_path / "a.tif", values)).rgb
    low, high = np.percentile(values, [2, 98])
    expected = np.clip((np.moveaxis(values, 0, -1) - low) / (high - low) * 255, 0, 255)
    np.testing.assert_allclose(loaded, expected, atol=0.51)
    assert 0.015 < (loaded == 255).mean() < 0.025


def test_under_the_scale_of_a_corpus_forest_stays_darker_than_sand(tmp_path: Path) -> None:
    means = [
        load_image(write_raster(tmp_path / "a.tif", np.full((3, 40, 40), level, np.uint16)), OVER_CORPUS).rgb.mean()
        for level in (300, 1900, 3500)
    ]
    assert means == [0, 128, 255]


def test_the_scale_of_a_corpus_leaves_8_bits_as_they_are(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", bands_of(scene()))
    assert np.array_equal(load_image(path, OVER_CORPUS).rgb, scene())
    # So does a given range of other values; one within 8 bits is meant for them.
    assert np.array_equal(load_image(path, given_range(0, 3000)).rgb, scene())
    np.testing.assert_allclose(load_image(path, given_range(0, 51)).rgb, np.clip(5.0 * scene(), 0, 255), atol=0.51)


def test_a_raster_for_which_the_corpus_has_no_scale_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((3, 40, 40), 700, np.uint16))
    with pytest.raises(RejectedPair, match=r"no scale for image.*a\.tif: uint16 values.*--scale-range"):
        load_image(path, RasterSettings(scale_by="corpus"))


def test_values_far_from_zero_keep_their_differences(tmp_path: Path) -> None:
    values = (bands_of(scene()) / 255 + 1e9).astype(np.float64)
    loaded = load_image(write_raster(tmp_path / "a.tif", values), given_range(1e9, 1e9 + 1)).rgb
    np.testing.assert_allclose(loaded.astype(int), scene(), atol=1)


def test_bands_are_chosen_and_counted_from_1(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.uint8)[:, None, None] * 20 + np.zeros((8, 40, 40), np.uint8)
    path = write_raster(tmp_path / "a.tif", values)
    assert load_image(path).rgb[0, 0].tolist() == [0, 20, 40]
    assert load_image(path, RasterSettings(bands=(4, 3, 2))).rgb[0, 0].tolist() == [60, 40, 20]
    assert load_image(path, RasterSettings(bands=(8, 1, 8))).rgb[0, 0].tolist() == [140, 0, 140]
    with pytest.raises(RejectedPair, match=r"missing image band.*band 9 of 8; red, green and blue are the bands 9, 3"):
        load_image(path, RasterSettings(bands=(9, 3, 2)))


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_bands_are_grey(tmp_path: Path, count: int) -> None:
    values = np.repeat(bands_of(scene())[:1], count, axis=0)
    path = write_raster(tmp_path / "a.tif", values)
    assert np.array_equal(load_image(path).rgb, np.repeat(scene()[..., :1], 3, axis=-1))
    with pytest.raises(RejectedPair, match=f"band 4 of {count}"):
        load_image(path, RasterSettings(bands=(4, 3, 2)))


def test_pixels_without_data_are_black_and_do_not_count(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1000, 2000, (3, 50, 50)).astype(np.float32)
    values[:, :20] = -9999.0
    values[:, 20, 0] = np.nan
    values[1, 20, 1] = np.inf
    loaded = load_image(write_raster(tmp_path / "a.tif", values, nodata=-9999.0)).rgb
    assert (loaded[:20] == 0).all()
    assert (loaded[20, :2] == 0).all()
    assert 120 < loaded[21:].mean() < 135


def test_no_data_in_one_of_three_bands_is_no_data(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1000, 2000, (3, 60, 60)).astype(np.uint16)
    values[1, :40] = 65535
    loaded = load_image(write_raster(tmp_path / "a.tif", values, nodata=65535)).rgb
    assert (loaded[:40] == 0).all()
    # Had 65535 counted, all else would be black: 2 % of the pixels are above 2,000.
    seen = loaded[40:].reshape(-1, 3)
    assert 124 < seen.mean() < 131
    assert 70 < seen.std() < 80


def test_the_no_data_of_a_band_that_was_not_chosen_is_ignored(tmp_path: Path) -> None:
    values = np.concatenate([bands_of(scene()).astype(np.uint16), np.zeros((1, 60, 80), np.uint16)])
    path = write_raster(tmp_path / "a.tif", values, nodata=0, photometric="MINISBLACK")
    loaded = load_image(path, given_range(0, 255)).rgb
    black = (scene() == 0).any(axis=-1)
    assert 0 < black.mean() < 0.1
    assert np.array_equal(loaded[~black], scene()[~black])


def test_8_bit_colours_without_one_of_the_primaries_survive_a_no_data_value_of_0(tmp_path: Path) -> None:
    water = np.array([0, 80, 120], np.uint8)[:, None, None] + np.zeros((3, 40, 40), np.uint8)
    path = write_raster(tmp_path / "a.tif", water, nodata=0)
    assert (load_image(path).rgb == [0, 80, 120]).all()
    water[:, :, :9] = 255
    white_is_none = write_raster(tmp_path / "b.tif", water, nodata=255)
    assert (load_image(white_is_none).rgb[:, :9] == 0).all()
    assert (load_image(white_is_none).rgb[:, 9:] == [0, 80, 120]).all()


def test_a_raster_of_one_value_or_without_data_is_no_error(tmp_path: Path) -> None:
    flat = write_raster(tmp_path / "a.tif", np.full((3, 40, 40), 700, np.uint16))
    empty = write_raster(tmp_path / "b.tif", np.zeros((3, 40, 40), np.uint16), nodata=0)
    assert (load_image(flat).rgb == 0).all()
    assert (load_image(empty).rgb == 0).all()


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([0.0, 0.1, 0.6]), min_size=4, max_size=4),
    st.permutations([1, 2, 3, 4]),
    st.booleans(),
    st.sampled_from(["int16", "float32"]),
)
def test_any_no_data_any_mask_and_any_bands_as_a_literal_reference(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shares: list[float],
    order: list[int],
    masked: bool,
    dtype: str,
) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(100, 900, (4, 36, 40)).astype(dtype)
    missing = generator.uniform(size=values.shape) < np.array(shares)[:, None, None]
    values[missing] = -7
    mask = generator.uniform(size=values.shape[1:]) < 0.7 if masked else np.ones(values.shape[1:], bool)
    path = tmp_path_factory.mktemp("any") / "a.tif"
    # An internal mask and a no-data value exclude each other in GDAL: the value is what counts.
    with_value = not masked
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        options = {"nodata": -7} if with_value else {}
        profile = {"driver": "GTiff", "width": 40, "height": 36, "count": 4, "dtype": dtype, **options}
        with rasterio.open(path, "w", **profile, crs="EPSG:32632", transform=from_origin(5e5, 5e6, 1, 1)) as raster:
            raster.write(values)
            if masked:
                raster.write_mask(mask)
    bands = (order[0], order[1], order[2])
    loaded = load_image(path, RasterSettings(bands=bands)).rgb

    chosen = [values[band - 1].astype(np.float64) for band in bands]
    valid = np.array(
        [[mask[y, x] and (masked or all(band[y, x] != -7 for band in chosen)) for x in range(40)] for y in range(36)]
    )
    if not valid.any():
        assert (loaded == 0).all()
        return
    low, high = np.percentile([band[valid] for band in chosen], [2, 98])
    expected = np.stack([np.clip((band - low) / (high - low) * 255, 0, 255) for band in chosen], axis=-1)
    expected[~valid] = 0
    np.testing.assert_allclose(loaded, expected, atol=0.51)


def infrared_of_water(dtype: str = "uint8") -> np.ndarray:
    """Red, green, blue and infrared, which is 0 over water on the left."""
    bands = np.stack([np.full((64, 64), value) for value in (40, 80, 120, 90)])
    bands[3, :, 32:] = np.random.default_rng(0).integers(40, 255, (64, 32))
    bands[3, :, :32] = 0
    return bands.astype(dtype)


@pytest.mark.parametrize("nodata", [None, 0])
def test_infrared_that_is_tagged_as_alpha_hides_nothing(tmp_path: Path, nodata: int | None) -> None:
    path = write_raster(tmp_path / "a.tif", infrared_of_water(), nodata=nodata)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3] == ColorInterp.alpha
    assert (load_image(path).rgb == [40, 80, 120]).all()
    false_colour = load_image(path, RasterSettings(bands=(4, 1, 2))).rgb
    assert np.array_equal(false_colour[..., 0], infrared_of_water()[3])
    assert (false_colour[..., 1:] == [40, 80]).all()


def test_infrared_of_nothing_but_water_hides_nothing(tmp_path: Path) -> None:
    bands = infrared_of_water()
    for infrared in (0, np.random.default_rng(0).integers(0, 13, (64, 64))):
        bands[3] = infrared
        assert (load_image(write_raster(tmp_path / "a.tif", bands)).rgb == [40, 80, 120]).all()


def test_16_bit_infrared_that_is_tagged_as_alpha_does_not_enter_the_stretch(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1000, 2000, (4, 60, 60)).astype(np.uint16)
    values[3, :, :30] = 0
    loaded = load_image(write_raster(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")).rgb
    low, high = np.percentile(values[:3], [2, 98])
    expected = np.clip((np.moveaxis(values[:3], 0, -1) - low) / (high - low) * 255, 0, 255)
    np.testing.assert_allclose(loaded, expected, atol=0.51)


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("uint16", 255), ("float32", 1)])
def test_what_a_warper_left_uncovered_is_black(tmp_path: Path, dtype: str, full: int) -> None:
    values = np.concatenate([bands_of(scene()), np.zeros((1, 60, 80))]).astype(dtype)
    values[3, 10:, 20:] = full
    path = write_raster(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    loaded = load_image(path, given_range(0, 255)).rgb
    assert np.array_equal(loaded[10:, 20:], scene()[10:, 20:])
    assert (loaded[:10] == 0).all()
    assert (loaded[:, :20] == 0).all()


def test_transparency_is_told_from_other_values() -> None:
    hard = np.zeros((40, 40), np.uint8)
    hard[:, 20:] = 255
    lossy = np.clip(hard + np.random.default_rng(0).normal(0, 4, hard.shape), 0, 255).astype(np.uint8)
    soft = hard.copy()
    soft[:, 19] = 128
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (40, 1))
    assert [is_transparency(values) for values in (hard, lossy, soft)] == [True] * 3
    assert [is_transparency(values) for values in (ramp, 0 * hard, hard // 255, hard // 2)] == [False] * 4


def test_alpha_of_a_16_bit_png_is_always_transparency(tmp_path: Path) -> None:
    values = np.concatenate([bands_of(scene()), np.zeros((1, 60, 80))]).astype(np.uint16)
    values[3] = np.linspace(0, 65535, 80)
    loaded = load_image(write_raster(tmp_path / "a.png", values, "PNG"), given_range(0, 255)).rgb
    assert (loaded[:, :40] == 0).all()
    assert np.array_equal(loaded[:, 41:], scene()[:, 41:])


def test_a_palette_is_applied_under_any_scale_and_its_transparent_colours_are_black(tmp_path: Path) -> None:
    values = np.zeros((1, 40, 40), np.uint8)
    values[0, :, 10:20], values[0, :, 20:] = 1, 2
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=40, height=40, count=1, dtype="uint8") as raster:
        raster.write(values)
        raster.write_colormap(1, {0: (9, 9, 9, 255), 1: (200, 100, 50, 255), 2: (1, 2, 3, 255)})
    for rasters in (RasterSettings(), given_range(0, 100), OVER_CORPUS):
        loaded = load_image(tmp_path / "a.tif", rasters).rgb
        assert [loaded[0, x].tolist() for x in (0, 15, 30)] == [[9, 9, 9], [200, 100, 50], [1, 2, 3]]


def test_grey_that_counts_from_white_is_shown_as_viewers_show_it(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", bands_of(scene())[:1], photometric="MINISWHITE")
    assert np.array_equal(load_image(path).rgb[..., 0], 255 - scene()[..., 0])


def write_sentinel(path: Path, reflectance: np.ndarray, offset: float | None) -> Path:
    """Digital numbers of 10,000 × reflectance, plus 1,000 where the file states the offset of baseline 04.00."""
    added = 0 if offset is None else -offset * 10_000
    numbers = np.rint(reflectance * 10_000 + added).astype(np.uint16)
    write_raster(path, numbers, crs="EPSG:32632", transform=from_origin(5e5, 5e6, 10, 10))
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1e-4,) * 3
        raster.offsets = (offset or 0.0,) * 3
    return path


def test_scale_and_offset_of_the_bands_make_products_agree(tmp_path: Path) -> None:
    reflectance = np.random.default_rng(0).uniform(0, 0.3, (3, 40, 40))
    before = write_sentinel(tmp_path / "a.tif", reflectance, None)
    since = write_sentinel(tmp_path / "b.tif", reflectance, -0.1)
    expected = np.moveaxis(reflectance, 0, -1) / 0.3 * 255
    for path in (before, since):
        np.testing.assert_allclose(load_image(path, given_range(0, 0.3)).rgb, expected, atol=0.6)
    # Nothing is guessed: where a file states neither, its numbers are what they are.
    bare = write_raster(tmp_path / "c.tif", np.full((3, 40, 40), 1000, np.uint16))
    assert (load_image(bare, given_range(0, 4000)).rgb == 64).all()


def write_neighbours(path: Path) -> None:
    """A mask, overviews, statistics, a no-data value, another place and a world file beside a raster."""
    with rasterio.open(path) as raster:
        height, width = raster.shape
    nothing = np.zeros((1, height, width), np.uint8)
    write_raster(path.with_name(f"{path.name}.msk"), nothing)
    with rasterio.open(path.with_name(f"{path.name}.msk"), "r+") as mask:
        mask.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2", INTERNAL_MASK_FLAGS_3="2")
    write_raster(path.with_name(f"{path.name}.ovr"), np.zeros((3, height // 2, width // 2), np.uint16))
    path.with_name(f"{path.name}.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>500000, 1, 0, 5500000, 0, 1</GeoTransform>"
        '<PAMRasterBand band="1">'
        "<NoDataValue>128</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    path.with_suffix(".tfw").write_text("1\n0\n0\n1\n7\n50\n")
    path.with_suffix(".wld").write_text("1\n0\n0\n1\n7\n50\n")


@pytest.mark.parametrize(("driver", "name"), [("GTiff", "a.tif"), ("JP2OpenJPEG", "a.jp2"), ("PNG", "a.png")])
def test_nothing_beside_a_raster_is_read(tmp_path: Path, driver: str, name: str) -> None:
    values = np.random.default_rng(0).integers(100, 3000, (3, 64, 64)).astype(np.uint16)
    path = write_raster(tmp_path / name, values, driver)
    alone = load_image(path)
    write_neighbours(path)
    with rasterio.open(path) as raster:
        assert len(raster.files) > 1, "GDAL by itself reads them"
        assert raster.crs is not None
    beside = load_image(path)
    assert np.array_equal(beside.rgb, alone.rgb)
    assert (beside.longitude, beside.latitude) == (alone.longitude, alone.latitude) == (None, None)


@pytest.mark.parametrize(("driver", "name"), [("GTiff", "a.tif"), ("JP2OpenJPEG", "a.jp2"), ("PNG", "a.png")])
def test_no_other_driver_is_asked(tmp_path: Path, driver: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_raster(tmp_path / name, np.full((3, 64, 64), 700, np.uint16), driver)
    opened, asked = rasterio.open, list[str | None]()

    def watched(*args: object, **kwargs: object) -> object:
        asked.append(kwargs.get("driver"))
        return opened(*args, **kwargs)

    monkeypatch.setattr(rasterio, "open", watched)
    load_image(path)
    assert set(asked) == {driver}


def test_overviews_are_never_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 512, 512)).astype(np.uint8)
    path = write_raster(tmp_path / "a.tif", values, tiled=True)
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4])
    assert np.array_equal(load_image(path).rgb, np.moveaxis(values, 0, -1))


@pytest.mark.parametrize("name", ["a.jp2", "a.webp"])
def test_pictures_in_jpeg_2000_and_webp(tmp_path: Path, name: str) -> None:
    options = {"irreversible": False} if name == "a.jp2" else {"lossless": True}
    Image.fromarray(scene()).save(tmp_path / name, **options)
    assert np.array_equal(load_image(tmp_path / name).rgb, scene())
    for share in (0.3, 0.9):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(RejectedPair, match=r"undecodable image|truncated image"):
            load_image(tmp_path / f"cut-{name}")


def test_cmyk_tiff_has_the_colours_of_pillow(tmp_path: Path) -> None:
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "a.tif")
    expected = np.array(Image.open(io.BytesIO((tmp_path / "a.tif").read_bytes())).convert("RGB"))
    assert np.abs(load_image(tmp_path / "a.tif").rgb.astype(int) - expected).max() <= 2


def test_complex_values_and_too_many_bytes_are_refused(tmp_path: Path) -> None:
    radar = write_raster(tmp_path / "a.tif", np.ones((1, 40, 40), np.complex64))
    with pytest.raises(RejectedPair, match="complex values are not supported"):
        load_image(radar)
    deep = write_raster(tmp_path / "b.tif", np.ones((3, 40, 40), np.uint16))
    with pytest.raises(RejectedPair, match="MB uncompressed, limit"):
        load_image(deep, max_raster_bytes=3 * 40 * 40 * 2 - 1)
    assert load_image(deep, max_raster_bytes=3 * 40 * 40 * 2).rgb.shape == (40, 40, 3)
