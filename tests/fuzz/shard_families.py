"""Inputs that `shards` reads: sets, images, sounds and tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pandas as pd
from fuzz.campaign import Family
from fuzz.mutations import change_bytes, change_json, change_text
from index_files import to_version_1
from raster_files import bands_of, scene, write_raster
from sound_writers import sndfile_bytes, tone, write_with_ffmpeg
from tiny_shards import write_tiny_shards

from shards.building.describing import describe_shards, print_description
from shards.building.folder import begun_parts
from shards.building.packing import ShardRecord, Tally
from shards.building.verifying import print_verification, verify_shards
from shards.checksums import checksum_of
from shards.decoding.audio_decoding import decode_recording
from shards.decoding.image_size import check_image_header
from shards.decoding.imagery import decode_jpeg, load_image, read_place
from shards.decoding.jpeg_parts import Box, decode_part, image_shape
from shards.errors import RejectedPair, UserError
from shards.front_ends import EARSHOT_16K
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.raster_settings import RasterSettings
from shards.records import json_as
from shards.schema import Rejection, place_of
from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, parse_coordinate
from shards.sources.metadata_table import list_table, read_table
from shards.streaming.index import entries_in_tar, load_index
from shards.streaming.reading import ShardSet

SENTENCES = (UserError, RejectedPair)
INDEX, JSON_INDEX = "train-000000.index.npy", "train-000000.index.json"


def _set(member: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return write_tiny_shards(folder / "set", {"train": 7, "test": 3}, image_side=32) / member

    return write


def _read_all(file: Path) -> None:
    shard_set = ShardSet.open(file.parent)
    for split in shard_set.manifest.splits:
        shard_set.check_files(split)
        for sample in shard_set.samples(split):
            sample.image()
            sample.frames(0, 64)
            place_of(sample.metadata())
            sample.preview()


def _describe(file: Path) -> None:
    print_description(file.parent, describe_shards(file.parent))


def _set_of_version_1(member: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = _set(member)(folder)
        to_version_1(path.parent)
        return path

    return write


def _with_its_index(use: Callable[[Path], object]) -> Callable[[Path], object]:
    """What is done with a set once its manifest states the checksum of an index, as that of a stranger would."""

    def agree(file: Path) -> None:
        manifest = Manifest.load(file.parent)
        first = dataclasses.replace(manifest.shards[0], index=checksum_of(file.read_bytes()))
        dataclasses.replace(manifest, shards=(first, *manifest.shards[1:])).save(file.parent)
        use(file)

    return agree


def _load_index(file: Path) -> None:
    load_index(file.parent, Manifest.load(file.parent).shards[0])


def _verify(file: Path) -> None:
    verification = verify_shards(file.parent, show_progress=False)
    print_verification(file.parent, verification)
    for fault in verification.faults:
        if len(fault.sentence) > 600:
            raise AssertionError(f"a fault of {len(fault.sentence)} letters")


def _picture(suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        cv2.imwrite(str(folder / f"a{suffix}"), scene())
        return folder / f"a{suffix}"

    return write


def _raster(name: str, driver: str = "GTiff", dtype: str = "uint16", **options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return write_raster(folder / name, bands_of(scene()).astype(dtype) * 9, driver, **options)

    return write


def _see(file: Path) -> None:
    check_image_header(file)
    load_image(file)
    read_place(file)


def _see_jpeg(file: Path) -> None:
    content = file.read_bytes()
    try:
        height, width = image_shape(content)
        decode_part(content, Box(height // 4, width // 4, max(1, height // 2), max(1, width // 2)))
        decode_jpeg(content)
    except ValueError as error:  # what `StoredSample` names the sample for
        raise UserError(str(error)) from error


def _sound(name: str, container: str, subtype: str | None = None) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(sndfile_bytes(tone(1.0, 16_000), 16_000, container, subtype))
        return folder / name

    return write


def _with_ffmpeg(name: str, codec: str) -> Callable[[Path], Path]:
    return lambda folder: write_with_ffmpeg(folder / name, tone(1.0, 16_000), 16_000, codec)


def _hear(file: Path) -> None:
    decode_recording(file, EARSHOT_16K, max_seconds=0.5)


ROWS = [
    {
        "key": str(number),
        "title": f"place {number}",
        "longitude": 7.5 + number,
        "latitude": 47.0,
        "sound": f"{number}.wav",
    }
    for number in range(12)
]


def _csv(folder: Path) -> Path:
    pd.DataFrame(ROWS).to_csv(folder / "metadata.csv", index=False)
    return folder / "metadata.csv"


def _xlsx(folder: Path) -> Path:
    pd.DataFrame(ROWS).to_excel(folder / "table.xlsx", index=False)
    return folder / "table.xlsx"


def _parquet(folder: Path) -> Path:
    pd.DataFrame(ROWS).to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def _geojson(folder: Path) -> Path:
    features = [
        {"type": "Feature", "properties": row, "geometry": {"type": "Point", "coordinates": [7.5, 47.0]}}
        for row in ROWS
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    record = {"type": "FeatureCollection", "crs": crs, "features": features}
    (folder / "table.geojson").write_text(json.dumps(record))
    return folder / "table.geojson"


def _gpx(folder: Path) -> Path:
    points = "\n".join(f'<wpt lat="47.0" lon="{7 + n}"><name>{n}</name><desc>place</desc></wpt>' for n in range(12))
    text = f'<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">\n{points}\n</gpx>\n'
    (folder / "table.gpx").write_text(text)
    return folder / "table.gpx"


def _read_table(file: Path) -> None:
    columns = {"key": "name"} if file.suffix == ".gpx" else None
    table = read_table(file.parent, table=file, columns=columns)
    list_table(table, lambda key, name: file, lambda key, name: file)


def _coordinates(folder: Path) -> Path:
    (folder / "places.txt").write_text("7.5\n47,25\n7°30'0\" E\nW 7.5\n-12.25\n")
    return folder / "places.txt"


def _parse_coordinates(file: Path) -> None:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        for axis in (LONGITUDE_AXIS, LATITUDE_AXIS):
            try:
                parse_coordinate(line, axis)
            except ValueError:
                continue


def _record(name: str, record: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(record))
        return folder / name

    return write


SHARD_RECORD = ShardRecord(
    ShardEntry("train-000000.tar", "train", 5, 10240, "ab" * 32),
    (Rejection("7", "missing image", "7.jpg"),),
    Tally(),
    {},
)


def _read_parts(file: Path) -> None:
    begun_parts(file.parent.parent)


def _copy_of_real_mp3(folder: Path) -> Path:
    return write_with_ffmpeg(folder / "a.mp3", tone(1.0, 44_100), 44_100, "libmp3lame")


def _family(name: str, write: Callable[[Path], Path], use: Callable[[Path], object], change: object) -> Family:
    return Family(name, write, use, change, SENTENCES)  # type: ignore[arg-type]


TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}

FAMILIES = [
    _family("manifest", _set(MANIFEST_NAME), lambda file: Manifest.load(file.parent), change_json),
    _family("set by its manifest", _set(MANIFEST_NAME), _read_all, change_json),
    _family(
        "info by the manifest",
        _set(MANIFEST_NAME),
        lambda f: print_description(f, describe_shards(f.parent)),
        change_json,
    ),
    _family("verify by the manifest", _set(MANIFEST_NAME), _verify, change_json),
    _family("index", _set(INDEX), _with_its_index(_load_index), change_bytes),
    _family("set by an index", _set(INDEX), _with_its_index(_read_all), change_bytes),
    _family("info by an index", _set(INDEX), _with_its_index(_describe), change_bytes),
    _family("verify by an index", _set(INDEX), _with_its_index(_verify), change_bytes),
    _family("index of version 1", _set_of_version_1(JSON_INDEX), _load_index, change_json),
    _family("set by an index of version 1", _set_of_version_1(JSON_INDEX), _read_all, change_json),
    _family("info by an index of version 1", _set_of_version_1(JSON_INDEX), _describe, change_json),
    _family("verify by an index of version 1", _set_of_version_1(JSON_INDEX), _verify, change_json),
    _family("tar", _set("train-000000.tar"), entries_in_tar, change_bytes),
    _family("set by a tar", _set("train-000000.tar"), _read_all, change_bytes),
    _family("info by a tar", _set("train-000000.tar"), _describe, change_bytes),
    _family("verify by a tar", _set("train-000000.tar"), _verify, change_bytes),
    _family("stored jpeg", _picture(".jpg"), _see_jpeg, change_bytes),
    _family("jpeg", _picture(".jpg"), _see, change_bytes),
    _family("png", _picture(".png"), _see, change_bytes),
    _family("webp", _picture(".webp"), _see, change_bytes),
    _family("bmp", _picture(".bmp"), _see, change_bytes),
    _family("tiff", _raster("a.tif", "GTiff", "uint8"), _see, change_bytes),
    _family("tiff of 16 bits", _raster("a.tif", crs="EPSG:4326", compress="deflate"), _see, change_bytes),
    _family(
        "tiled tiff of floats",
        _raster("a.tif", dtype="float32", tiled=True, blockxsize=16, blockysize=16),
        _see,
        change_bytes,
    ),
    _family("png of 16 bits", _raster("a.png", "PNG"), _see, change_bytes),
    _family("jpeg 2000", _raster("a.jp2", "JP2OpenJPEG", "uint8"), _see, change_bytes),
    _family("wav", _sound("a.wav", "WAV"), _hear, change_bytes),
    _family("flac", _sound("a.flac", "FLAC"), _hear, change_bytes),
    _family("ogg", _sound("a.ogg", "OGG"), _hear, change_bytes),
    _family("aiff", _sound("a.aiff", "AIFF"), _hear, change_bytes),
    _family("mp3", _copy_of_real_mp3, _hear, change_bytes),
    _family("m4a", _with_ffmpeg("a.m4a", "aac"), _hear, change_bytes),
    _family("opus", _sound("a.opus", "OGG", "OPUS"), _hear, change_bytes),
    _family("csv", _csv, _read_table, change_text),
    _family("xlsx", _xlsx, _read_table, change_bytes),
    _family("parquet", _parquet, _read_table, change_bytes),
    _family("geojson", _geojson, _read_table, change_json),
    _family("gpx", _gpx, _read_table, change_text),
    _family("coordinates", _coordinates, _parse_coordinates, change_text),
    _family(
        "record of a shard",
        _record("train-000000.json", dataclasses.asdict(SHARD_RECORD)),
        lambda file: ShardRecord.from_json(file.read_text(errors="replace")),
        change_json,
    ),
    _family("number of parts", _record(".build/parts.json", {"num_parts": 3}), _read_parts, change_json),
    _family(
        "raster settings",
        _record("rasters.json", RasterSettings((4, 3, 2), (310.5, 4120.0), "corpus").to_dict()),
        lambda file: json_as(RasterSettings, file.read_bytes(), str(file)),
        change_json,
    ),
]
