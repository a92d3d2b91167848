"""Files as people and file systems vary their names: found where one fits, refused by name where none or several do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.errors import RejectedPair
from shards.sources.named_files import image_files, largest_raster, sound_files


def touch(root: Path, *names: str, size: int = 0) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("audio/a b.wav", "a b.wav"),
        ("audio/A B.WAV", "a b.wav"),
        ("audio/a b.wav", "A B.WAV"),
        ("audio/Ma\u0308rz.wav", "M\u00e4rz.wav"),
        ("audio/M\u00e4rz.wav", "Ma\u0308rz.WAV"),
        ("audio/a.wav", "a"),
        ("audio/v1.5.flac", "V1.5"),
        ("audio/sub/a.ogg", "sub/a.ogg"),
        ("audio/sub/a.ogg", "a.ogg"),
        ("audio/sub/a.ogg", "SUB\\a.OGG"),
        ("audio/a.wav", "./a.wav"),
        ("audio/a.wav", "audio/a.wav"),
        ("audio/a.wav", "C:\\Users\\me\\field\\a.wav"),
        ("audio/a.wav", "/media/card/A.WAV"),
        ("audio/a.wav", "old/place/a.wav"),
        ("field/day 1/a.wav", "field/day 1/a.wav"),
        ("field/day 1/a.wav", "Field/Day 1/A.wav"),
        ("audio/odd.format", "odd.format"),
        ("Audio/a.wav", "a.wav"),
        ("AUDIO/a.wav", "A"),
    ],
)
def test_a_name_finds_its_file(tmp_path: Path, there: str, name: str) -> None:
    touch(tmp_path, there)
    if not there.lower().startswith("audio") or there.startswith("audio"):
        touch(tmp_path, "audio/other.wav", "audio/._a.wav")
    assert sound_files(tmp_path).named(name, "File") == tmp_path / there


@pytest.mark.parametrize("linked", ["audio/a.wav", "audio", "audio/sub", "field/a.wav"])
def test_links_out_of_the_corpus_are_followed_only_if_that_was_asked_for(tmp_path: Path, linked: str) -> None:
    root, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    name = {"audio/sub": "sub/a.wav", "field/a.wav": "field/a.wav"}.get(linked, "a.wav")
    touch(elsewhere, "a.wav", "other.wav")
    touch(root, "audio/other.wav" if linked != "audio" else "images/other.jpg")
    link = root / linked
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere / "a.wav" if linked.endswith(".wav") else elsewhere)
    with pytest.raises(RejectedPair, match=r"^link out of the corpus: .*a\.wav leads out of --root; give"):
        sound_files(root).named(name, "File")
    followed = sound_files(root, follow_links=True).named(name, "File")
    assert followed.resolve() == elsewhere / "a.wav"


def test_links_within_the_corpus_and_to_it_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "corpus", "audio/a.wav")
    (tmp_path / "corpus" / "audio" / "b.wav").symlink_to("a.wav")
    (tmp_path / "link").symlink_to(tmp_path / "corpus")
    for root in (tmp_path / "corpus", tmp_path / "link"):
        files = sound_files(root)
        assert files.of_key("b") == root / "audio" / "b.wav"
        assert files.named("a.wav", "File") == root / "audio" / "a.wav"


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("Site 1.WAV", "no audio/Site 1.WAV; did you mean 'Site_1.wav'?"),
        ("Site-1.mp3", "no audio/Site-1.mp3; did you mean 'Site_1.wav'?"),
        ("Syte_1.wav", "no audio/Syte_1.wav; did you mean 'Site_1.wav'?"),
        ("Site_2.wav", "no audio/Site_2.wav; did you mean 'Syte_2.wav'?"),
        ("Site_3.wav", "no audio/Site_3.wav"),
        ("Site_0.1.wav", "no audio/Site_0.1.wav"),
        ("nothing.wav", "no audio/nothing.wav"),
        ("../outside.wav", "File '../outside.wav' does not lie in audio/"),
        ("a\0b.wav", "no audio/a\0b.wav"),
    ],
)
def test_a_near_miss_is_named_and_another_number_is_none(tmp_path: Path, name: str, detail: str) -> None:
    touch(tmp_path, "audio/Site_1.wav", "audio/Syte_2.wav", "outside.wav")
    with pytest.raises(RejectedPair) as rejected:
        sound_files(tmp_path).named(name, "File")
    assert (rejected.value.reason, rejected.value.detail) == ("missing sound", detail)


def test_several_files_that_fit_are_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "audio/d1/a.wav", "audio/d2/a.wav", "audio/B.wav", "audio/b.WAV")
    files = sound_files(tmp_path)
    for name, detail in (("a.wav", "'a.wav' may be audio/d1/a.wav and audio/d2/a.wav"), ("b.wav", "'b.wav' may be")):
        with pytest.raises(RejectedPair) as rejected:
            files.named(name, "File")
        assert rejected.value.reason == "ambiguous sound"
        assert rejected.value.detail.startswith(detail)


def test_a_key_is_the_stem_of_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "audio/1.wav", "audio/Site 1.MP3", "audio/a.b.ogg", "audio/sub/9.wav")
    files = sound_files(tmp_path)
    assert files.of_key("1").name == "1.wav"
    assert files.of_key("site 1", "site_1-x").name == "Site 1.MP3"
    assert files.of_key("a.b").name == "a.b.ogg"
    assert files.has_key("1")
    for key, detail in (("9", "no audio/9 with .wav"), ("Site1", "did you mean 'Site 1.MP3'?")):
        assert not files.has_key(key)
        with pytest.raises(RejectedPair) as rejected:
            files.of_key(key)
        assert rejected.value.reason == "missing sound"
        assert detail in rejected.value.detail
    assert files.notices() == ["1 sounds found ignoring case or Unicode form of their names in the table"]


def write_image(path: Path, side: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(path)


def test_of_two_images_of_a_key_the_larger_is_taken_and_said_once(tmp_path: Path) -> None:
    for name, side in {
        "1.tif": 96,
        "1.jpg": 32,
        "2.jpg": 96,
        "2.tif": 32,
        "3.jpg": 64,
        "3.tiff": 64,
        "4.png": 32,
    }.items():
        write_image(tmp_path / "images" / name, side)
    files = image_files(tmp_path)
    assert [files.of_key(key).name for key in "1234"] == ["1.tif", "2.jpg", "3.tiff", "4.png"]
    assert files.named("2", "Tile").name == "2.jpg"
    assert files.named("2.TIF", "Tile").name == "2.tif"
    assert (
        "4 images have several files with one name; the one with the most pixels (of equal ones a TIFF) is taken"
        in (files.notices())
    )


def test_an_image_that_can_not_be_read_is_smaller_than_any(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 32)
    touch(tmp_path, "1.tif", size=9)
    assert largest_raster([tmp_path / "1.tif", tmp_path / "1.png"]).name == "1.png"


def test_of_two_sounds_of_a_key_the_larger_file_is_taken_and_said(tmp_path: Path) -> None:
    touch(tmp_path, "audio/1.mp3", "audio/2.wav", size=5)
    touch(tmp_path, "audio/1.wav", "audio/2.mp3", size=9)
    files = sound_files(tmp_path)
    assert [files.of_key(key).name for key in "12"] == ["1.wav", "2.mp3"]
    assert files.notices() == ["2 sounds have several files with one name; the largest file is taken"]
