"""Sources: every row of a table is a pair or has its reason, and samples hold what the files held."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from PIL import Image

from shards.decoding import imagery
from shards.errors import RejectedPair, UserError
from shards.schema import Pair
from shards.sources import SOURCES, recordings
from shards.sources.keys import make_key
from shards.sources.source import Listing, SourceOptions

HEADER = ["key", "longitude", "latitude", "title", "mp3name", "scene", "licenseurl"]


def write_table(root: Path, rows: list[list[str]], header: list[str] = HEADER) -> None:
    root.mkdir(exist_ok=True)
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def list_source(name: str, root: Path, limit: int | None = None) -> Listing:
    return SOURCES[name](SourceOptions(root=root, limit=limit)).list_pairs()


def reasons(listing: Listing) -> list[tuple[str, str]]:
    return [(rejection.key, rejection.reason) for rejection in listing.rejected]


def test_every_row_is_a_pair_or_has_its_reason(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{key}.jpg" for key in ("1", "2", "4", "5", "6", "7", "8", "9", "10", "a.b")))
    touch(tmp_path, "images/11.PNG", "audio/1.mp3", "audio/2.wav", "audio/sub/x.ogg", "audio/4.flac", "outside.mp3")
    rows = [
        ["1", "10.5", "-20.25", "Höhe, “x”", "1.mp3", "shore", "https://licence.example"],
        ["2", "180", "90", "", "", "", ""],
        ["1", "0", "0", "again", "1.mp3", "", ""],
        ["3", "0", "0", "", "1.mp3", "", ""],
        ["4", "181", "0", "", "", "", ""],
        ["5", "0", "nan", "", "1.mp3", "", ""],
        ["6", "12,5,0", "0", "", "1.mp3", "", ""],
        ["7", "", "3", "", "1.mp3", "", ""],
        ["8", "0", "0", "", "", "", ""],
        ["9", "0", "0", "", "none.mp3", "", ""],
        ["10", "0", "0", "", "../outside.mp3", "", ""],
        ["11", "0", "0", "", "sub/x.ogg", "", ""],
        ["a.b", "0", "0", "", "1.mp3", "", ""],
        ["", "0", "0", "", "1.mp3", "", ""],
        ["k" * 90, "0", "0", "", "1.mp3", "", ""],
        ["12", "0", "0", "", "1.mp3", "", "", "one too many"],
    ]
    write_table(tmp_path, rows)
    listing = list_source("recordings", tmp_path)
    assert [pair.key for pair in listing.pairs] == ["1", "2", "11", make_key("a.b")]
    assert reasons(listing) == [
        ("1", "duplicate key"),
        ("3", "missing image"),
        ("4", "coordinates out of range"),
        ("5", "coordinates out of range"),
        ("6", "unreadable coordinates"),
        ("7", "missing coordinates"),
        ("8", "missing sound"),
        ("9", "missing sound"),
        ("10", "missing sound"),
        ("", "invalid key"),
        ("k" * 90, "missing image"),
        ("12", "malformed row"),
    ]
    assert listing.num_rows == len(rows)
    first = listing.pairs[0]
    assert (first.longitude, first.latitude) == (10.5, -20.25)
    assert first.properties == {"title": "Höhe, “x”", "label": "shore", "licence": "https://licence.example"}
    assert listing.pairs[1].sound == tmp_path / "audio" / "2.wav"
    assert listing.pairs[2].image == tmp_path / "images" / "11.PNG"


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "audio/1.mp3", "audio/2.mp3")
    write_table(tmp_path, [[key, "0", "0", "", "", "", ""] for key in ("3", "2", "1")])
    listing = list_source("recordings", tmp_path, limit=2)
    assert ([pair.key for pair in listing.pairs], reasons(listing)) == (["2"], [("3", "missing image")])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffkey,longitude,latitude\r\n1,2,3\r\n\r\n",
        "key;longitude;latitude;title\n1;2;3;a,b\n",
        "key\tlongitude\tlatitude\n1\t2\t3",
        'latitude,longitude,key,title\n3,2,1,"two\nlines, and \x85 more"\n',
        "key , longitude, latitude,description\n 1 , 2 , 3 \n",
    ],
)
def test_tables_of_several_hands_are_read(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "images/1.jpg", "audio/1.mp3")
    (tmp_path / "metadata.csv").write_bytes(text.encode("utf-8"))
    (pair,) = list_source("recordings", tmp_path).pairs
    assert (pair.key, pair.longitude, pair.latitude) == ("1", 2.0, 3.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "has no metadata.csv"),
        (b"", "no column 'key'"),
        (b"key,longitude,latitude\n", "has no rows"),
        (b"colour,longitude,latitude\n1,2,3\n", "no column 'key'; its columns are: colour, longitude, latitude"),
        (b"key,longitude,longitude\n1,2,3\n", "'longitude' appears twice"),
        (
            b"key,east,north\n1,2,3\n",
            "no column was recognised as longitude or latitude .columns: key, east, north.: --column",
        ),
        (b"key,longitude,latitude,title\n1,2,3,\x81\n", "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["recordings", "soundingearth"])
def test_a_table_that_is_none_is_refused(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    touch(tmp_path, "images/1.jpg", "audio/1.mp3", "spectrograms/1.jpg")
    if data is not None:
        (tmp_path / "metadata.csv").write_bytes(data)
    with pytest.raises(UserError, match=message):
        list_source(name, tmp_path)


def test_released_files_are_named_by_key_alone(tmp_path: Path) -> None:
    write_table(tmp_path, [["1", "0", "0", "", "", "", ""]])
    options = SourceOptions(tmp_path, columns={"sound": "mp3name"})
    with pytest.raises(UserError, match="--column sound=mp3name has no effect with --source soundingearth"):
        SOURCES["soundingearth"](options).list_pairs()


def test_files_are_found_by_columns_and_by_key(tmp_path: Path) -> None:
    touch(tmp_path, "tiles/A 1.tif", "images/b.jpg", "images/Ü 3.jpg", "images/4.jpg", "Audio/a 1.WAV", "Audio/B.mp3")
    touch(tmp_path, "Audio/ü 3.wav", "Audio/4.ogg")
    header = ["Site ID", "Lon", "Lat", "Tile", "Recording file", "track"]
    rows = [
        ["A 1", "7,5", "50", "tiles/a 1.TIF", "A 1.wav", "a"],
        ["b", "8", "51", "", "B.mp3", "b"],
        ["Ü 3", "8", "51", "", "", "c"],
        # The column of sounds was only guessed: another name there does not hide the file of the key.
        ["4", "8", "51", "none.tif", "original.wav", "d"],
    ]
    write_table(tmp_path, rows, header)
    listing = list_source("recordings", tmp_path)
    assert listing.rejected == ()
    names = [(pair.image.relative_to(tmp_path).as_posix(), pair.sound.name) for pair in listing.pairs]
    assert names == [
        ("tiles/A 1.tif", "a 1.WAV"),
        ("images/b.jpg", "B.mp3"),
        ("images/Ü 3.jpg", "ü 3.wav"),
        ("images/4.jpg", "4.ogg"),
    ]
    assert [pair.properties for pair in listing.pairs] == [{"original_key": "A 1"}, {}, {"original_key": "Ü 3"}, {}]
    assert [pair.place for pair in listing.pairs] == [2, 3, 4, 5]
    # A column that the user names is taken at its word.
    options = SourceOptions(root=tmp_path, columns={"sound": "Recording file", "image": "Tile"})
    rejected = SOURCES["recordings"](options).list_pairs().problems
    assert [(place, problem.detail) for place, problem in rejected] == [
        (5, "no images/none.tif"),
        (5, "no Audio/original.wav"),
    ]


def test_a_wrong_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        list_source("recordings", tmp_path / "none")
    write_table(tmp_path, [["1", "0", "0", "", "", "", ""]])
    with pytest.raises(UserError, match="images can't be listed"):
        list_source("recordings", tmp_path)


def test_the_column_of_files_that_exist_is_named(tmp_path: Path) -> None:
    header = ["key", "longitude", "latitude", "Ansicht A", "Notiz"]
    write_table(tmp_path, [["1", "7", "50", "Luft\\A1.PNG", "a"], ["2", "7", "50", "A2", "A1.png"]], header)
    touch(tmp_path, "Luft/a1.png", "Luft/A2.png", "audio/1.wav")
    columns = "the table's columns are: key, longitude, latitude, Ansicht A, Notiz"
    with pytest.raises(UserError, match=f"{columns}; --column image='Ansicht A' fits$"):
        list_source("recordings", tmp_path)
    (tmp_path / "Luft" / "a1.png").unlink()
    (tmp_path / "Luft" / "A2.png").unlink()
    with pytest.raises(UserError, match=f"{columns}$"):
        list_source("recordings", tmp_path)


def test_unrecognised_coordinates_are_said_once(tmp_path: Path) -> None:
    header, rows = ["key", "Ost", "Nord", "image"], [[str(n), "7", "50", f"{n}.png"] for n in range(3)]
    write_table(tmp_path, rows, header)
    touch(tmp_path, *(f"images/{n}.png" for n in range(3)), *(f"audio/{n}.wav" for n in range(3)))
    words = (
        "no column was recognised as longitude or latitude (columns: key, Ost, Nord, image): --column longitude=NAME"
    )
    with pytest.raises(UserError, match=re.escape(words)):
        list_source("recordings", tmp_path)
    # An image that may have its own place leaves the others to the list of problems, with one remedy for all.
    write_table(tmp_path, [*rows, ["3", "7", "50", "3.tif"]], header)
    touch(tmp_path, "images/3.tif", "audio/3.wav")
    listing = list_source("recordings", tmp_path)
    assert len(listing.pairs) == 1
    assert listing.remedies["missing coordinates"].startswith(words)


def test_an_unknown_source_gets_the_choices() -> None:
    with pytest.raises(
        UserError,
        match=r"did you mean 'recordings'.*choose one of: demo, parquet, recordings, soundingearth, webdataset",
    ):
        SOURCES.load("recording")


def write_picture(path: Path, size: int = 96, mode: str = "RGB") -> None:
    path.parent.mkdir(exist_ok=True)
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    pixels = np.random.default_rng(size).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(cv2.blur(pixels, (9, 9))).save(path, quality=95)


def test_released_spectrograms_keep_their_bytes(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "1.jpg", 1024)
    write_picture(tmp_path / "images" / "2.jpg", 256)
    (tmp_path / "spectrograms").mkdir()
    released = cv2.blur(np.random.default_rng(0).integers(0, 256, (128, 500), dtype=np.uint8), (5, 5))
    for key, frames in (("1", 500), ("2", 60)):
        Image.fromarray(released[:, :frames]).save(tmp_path / "spectrograms" / f"{key}.jpg")
    rows = [[key, "1", "2", "t", "", "", "", "20.5"] for key in "1234"]
    write_table(tmp_path, rows, [*HEADER, "mp3seconds"])
    source = SOURCES["soundingearth"](SourceOptions(root=tmp_path))
    listing = source.list_pairs()
    assert reasons(listing) == [("3", "missing image"), ("4", "missing image")]
    long, short = (source.read(pair) for pair in listing.pairs)
    stored = cv2.imread(str(tmp_path / "spectrograms" / "1.jpg"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(long.spectrogram, stored)
    assert long.metadata == {"title": "t", "longitude": 1.0, "latitude": 2.0, "seconds": 20.5}
    assert (long.preview, long.used_seconds, long.was_repeated) == (None, 20.5, False)
    assert short.was_repeated
    assert short.spectrogram.shape == (128, 128)
    assert np.array_equal(short.spectrogram[:, 60:120], short.spectrogram[:, :60])
    # The stored image of a large tile is its central half; a chip stays whole.
    assert [Image.open(io.BytesIO(sample.image)).size for sample in (long, short)] == [(512, 512), (256, 256)]
    assert source.settings.scale.name == "exp-log-mel/10"
    assert source.settings.hop_samples is None


def test_a_spectrogram_that_is_none_is_rejected(tmp_path: Path) -> None:
    source = SOURCES["soundingearth"](SourceOptions(root=tmp_path))
    write_picture(tmp_path / "image.jpg")
    write_picture(tmp_path / "colour.jpg", 128)
    write_picture(tmp_path / "rows.jpg", 64, mode="L")
    write_picture(tmp_path / "whole.jpg", 128, mode="L")
    (tmp_path / "truncated.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-600])
    (tmp_path / "text.jpg").write_text("not found")
    for name in ("colour", "rows", "truncated", "text", "missing"):
        pair = Pair("1", tmp_path / "image.jpg", tmp_path / f"{name}.jpg", 0.0, 0.0)
        with pytest.raises(RejectedPair) as rejected:
            source.read(pair)
        assert rejected.value.reason == "unreadable spectrogram", name


def test_recordings_become_samples(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "1.jpg")
    (tmp_path / "audio").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (44_100 * 2, 2))
    soundfile.write(tmp_path / "audio" / "1.wav", noise, 44_100)
    write_table(tmp_path, [["1", "1", "2", "t", "", "town", ""]])
    source = SOURCES["recordings"](SourceOptions(root=tmp_path, max_seconds=1.0))
    (pair,) = source.list_pairs().pairs
    sample = source.read(pair)
    assert sample.spectrogram.dtype == np.uint8
    assert sample.spectrogram.shape[0] == 128
    assert sample.was_shortened
    assert not sample.is_silent
    assert sample.metadata["seconds"] == pytest.approx(2.0)
    assert sample.metadata["used_seconds"] <= 1.01
    assert sample.metadata["label"] == "town"
    assert sample.preview is not None
    clip, rate = soundfile.read(io.BytesIO(sample.preview))
    assert rate == 16_000
    assert clip.ndim == 1
    without = SOURCES["recordings"](SourceOptions(root=tmp_path, previews=False))
    assert without.read(pair).preview is None


def test_a_geotiff_brings_its_own_coordinates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rasterio
    from rasterio.transform import from_bounds

    (tmp_path / "images").mkdir()
    (tmp_path / "audio").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:4326", "transform": from_bounds(7.0, 50.0, 7.02, 50.02, 64, 64)}
    for key, extra in (("1", place), ("2", {}), ("3", place)):
        with rasterio.open(tmp_path / "images" / f"{key}.tif", "w", **profile, **extra) as tiff:
            tiff.write(pixels)
        soundfile.write(tmp_path / "audio" / f"{key}.wav", np.full(16_000, 0.1), 16_000)
    write_table(tmp_path, [["1", "", ""], ["2", "", ""], ["3", "-5", "-6"]], ["key", "longitude", "latitude"])
    source = SOURCES["recordings"](SourceOptions(root=tmp_path))
    own, none, stated = source.list_pairs().pairs
    sample = source.read(own)
    assert (sample.metadata["longitude"], sample.metadata["latitude"]) == pytest.approx((7.01, 50.01))
    with pytest.raises(RejectedPair, match="missing coordinates"):
        source.read(none)
    assert source.read(stated).metadata["longitude"] == -5.0
    located = source.locate(source.list_pairs())
    assert [pair.longitude for pair in located.pairs] == [pytest.approx(7.01), -5.0]
    assert reasons(located) == [("2", "missing coordinates")]
    assert "reading image coordinates" not in capsys.readouterr().err
    # Whatever goes wrong with an image is its own rejection; of many images the progress is shown.
    monkeypatch.setattr(recordings, "PROGRESS_ABOVE_IMAGES", 1)
    for error, reason in (
        (PermissionError(13, "Permission denied"), "unreadable file"),
        (KeyError(), "unexpected failure"),
    ):
        monkeypatch.setattr(imagery, "read_place", lambda _, error=error: (_ for _ in ()).throw(error))
        assert reasons(source.locate(source.list_pairs())) == [("1", reason), ("2", reason)]
    assert "reading image coordinates: 2/2" in capsys.readouterr().err
    # The columns themselves may be left out.
    write_table(tmp_path, [["1"]], ["key"])
    assert len(source.list_pairs().pairs) == 1
