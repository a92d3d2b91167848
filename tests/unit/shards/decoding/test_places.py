"""The place of a raster's centre, in any system that PROJ knows; without one, the image is as good as any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from raster_files import bands_of, scene, write_raster
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from shards.decoding.imagery import load_image, read_place
from shards.decoding.places import on_earth
from shards.errors import RejectedPair

WGS84 = CRS.from_epsg(4326)
ANYWHERE = from_origin(100, 200, 0.1, 0.1)


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


def test_jpeg_2000_has_its_place(tmp_path: Path) -> None:
    (x,), (y,) = transform(WGS84, CRS.from_epsg(32632), [9.0], [48.0])
    corner = from_origin(x - 400, y + 300, 10, 10)
    path = write_raster(
        tmp_path / "a.jp2", bands_of(scene()), "JP2OpenJPEG", crs=CRS.from_epsg(32632), transform=corner, QUALITY=100
    )
    assert read_place(path) == pytest.approx((9.0, 48.0), abs=1e-6)


@pytest.mark.parametrize(
    "system",
    [
        'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]',
        'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
        'GEOGCRS["Moon",DATUM["Moon",ELLIPSOID["Moon",1737400,0]],CS[ellipsoidal,2],AXIS["latitude",north],'
        'AXIS["longitude",east],ANGLEUNIT["degree",0.0174532925199433],ID["IAU",30100,2015]]',
    ],
)
def test_a_system_without_a_place_on_earth_costs_the_coordinates_alone(tmp_path: Path, system: str) -> None:
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), crs=CRS.from_wkt(system), transform=ANYWHERE)
    image = load_image(path)
    assert np.array_equal(image.rgb, scene())
    assert (image.longitude, image.latitude) == (None, None)
    assert read_place(path) == (None, None)


def test_coordinates_that_no_projection_has_cost_the_coordinates_alone(tmp_path: Path) -> None:
    far = from_origin(9e30, 9e30, 1e25, 1e25)
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), crs=CRS.from_epsg(32632), transform=far)
    image = load_image(path)
    assert np.array_equal(image.rgb, scene())
    assert (image.longitude, image.latitude) == (None, None)


def test_a_transform_without_a_system_is_no_place(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), transform=from_origin(7, 50, 0.1, 0.1))
    assert read_place(path) == (None, None)


def test_longitudes_past_180_are_wrapped(tmp_path: Path) -> None:
    for west, expected in ((190.0, -166.0), (-190.0, -186.0 + 360), (176.0, -180.0), (355.0, -1.0)):
        path = write_raster(tmp_path / "a.tif", bands_of(scene()), crs=WGS84, transform=from_origin(west, 50, 0.1, 0.1))
        longitude, latitude = read_place(path)
        assert latitude == pytest.approx(47)
        assert longitude == pytest.approx(expected) or abs(longitude) == abs(expected) == 180
    assert on_earth(360.0, 1.0) == (0.0, 1.0)
    assert on_earth(-360.0, 1.0) == (0.0, 1.0)
    for longitude, latitude in ((361.0, 1.0), (float("inf"), 1.0), (float("nan"), 1.0), (5.0, 90.1)):
        assert on_earth(longitude, latitude) == (None, None)


def test_a_raster_across_the_antimeridian_has_its_place(tmp_path: Path) -> None:
    (x,), (y,) = transform(WGS84, CRS.from_epsg(32601), [179.99], [-17.0])
    path = write_raster(
        tmp_path / "a.tif", bands_of(scene()), crs=CRS.from_epsg(32601), transform=from_origin(x - 40, y + 30, 1, 1)
    )
    assert read_place(path) == pytest.approx((179.99, -17.0), abs=1e-6)


def control_points(turned: Affine, *pixels: tuple[float, float]) -> list[GroundControlPoint]:
    """Points of a plane, at (column, row)."""
    return [GroundControlPoint(row, column, *(turned * (column, row))) for column, row in pixels]


CORNERS = ((0, 0), (80, 0), (0, 60), (80, 60))


@pytest.mark.parametrize("epsg", [4326, 32632])
def test_control_points_stand_in_for_a_transform(tmp_path: Path, epsg: int) -> None:
    (x,), (y,) = transform(WGS84, CRS.from_epsg(epsg), [9.0], [48.0])
    side = 1e-4 if epsg == 4326 else 10.0
    plane = Affine(side, 0, x - 40 * side, 0, -side, y + 30 * side)
    path = write_raster(
        tmp_path / "a.tif", bands_of(scene()), gcps=control_points(plane, *CORNERS), crs=CRS.from_epsg(epsg)
    )
    image = load_image(path)
    assert (image.longitude, image.latitude) == pytest.approx((9.0, 48.0), abs=1e-6)
    assert np.array_equal(image.rgb, scene())


def test_control_points_say_where_north_is(tmp_path: Path) -> None:
    southwards = Affine(1e-4, 0, 9, 0, 1e-4, 48)
    path = write_raster(
        tmp_path / "a.tif", bands_of(scene()[::-1]), gcps=control_points(southwards, *CORNERS), crs=WGS84
    )
    assert np.array_equal(load_image(path).rgb, scene())


@pytest.mark.parametrize("pixels", [CORNERS[:2], ((0, 0), (1, 1), (2, 2), (50, 50))])
def test_too_few_control_points_are_no_place(tmp_path: Path, pixels: tuple[tuple[float, float], ...]) -> None:
    plane = Affine(1e-4, 0, 9, 0, -1e-4, 48)
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), gcps=control_points(plane, *pixels), crs=WGS84)
    image = load_image(path)
    assert np.array_equal(image.rgb, scene())
    assert (image.longitude, image.latitude) == (None, None)


def test_rational_polynomials_give_the_place(tmp_path: Path) -> None:
    # Column and row are linear: column = 40 + 40 (longitude - 9) / 0.01, row = 30 - 30 (latitude - 48) / 0.01.
    one, east, north = [1.0] + [0.0] * 19, [0.0, 1.0] + [0.0] * 18, [0.0, 0.0, -1.0] + [0.0] * 17
    polynomials = RPC(
        height_off=200, height_scale=500, lat_off=48.0, lat_scale=0.01, line_den_coeff=one, line_num_coeff=north,
        line_off=30, line_scale=30, long_off=9.0, long_scale=0.01, samp_den_coeff=one, samp_num_coeff=east, samp_off=40,
        samp_scale=40, err_bias=0, err_rand=0,
    )  # fmt: skip
    path = write_raster(tmp_path / "a.tif", bands_of(scene()), rpcs=polynomials)
    image = load_image(path)
    assert (image.longitude, image.latitude) == pytest.approx((9.0, 48.0), abs=5e-4)
    assert np.array_equal(image.rgb, scene())
