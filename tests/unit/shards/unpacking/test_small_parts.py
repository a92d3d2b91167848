"""Splits in names, kinds of contents, fields of records, and licences of cards: the rules of reading foreign sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sound_writers import sndfile_bytes, tone, write_with_ffmpeg

from shards.unpacking.contents import kind_of
from shards.unpacking.fields import MOST_FIELDS, MOST_LETTERS, fields_of
from shards.unpacking.licences import licence_in_card
from shards.unpacking.splits_in_names import split_in


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train-000000.tar", "train"), ("cc3m-Training_12.tar.gz", "train"), ("set/val/0001.tar", "val")),
        *(
            ("data/validation-00000-of-00002.parquet", "val"),
            ("dev-0.tar", "val"),
            ("default/test/0000.parquet", "test"),
        ),
        *(("https://host.example/train/0001.tar?split=test", "train"), ("https://test.example/0001.tar", None)),
        *(
            ("train/test-0.tar", "test"),
            ("00000.tar", None),
            ("latest-contest.tar", None),
            ("train_and_test.tar", None),
        ),
    ],
)
def test_a_name_says_the_split_in_its_last_part_that_names_one(name: str, split: str | None) -> None:
    assert split_in(name) == split


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".jp2", ".bmp"])
def test_images_are_recognised_by_their_first_bytes(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(path)
    assert kind_of(path.read_bytes()) == ("image", suffix)


@pytest.mark.parametrize(
    ("container", "suffix"),
    [("WAV", ".wav"), ("FLAC", ".flac"), ("OGG", ".ogg"), ("AIFF", ".aiff"), ("CAF", ".caf"), ("W64", ".w64"),
     ("AU", ".au"), ("RF64", ".wav"), ("MP3", ".mp3")],
)  # fmt: skip
def test_sounds_are_recognised_by_their_first_bytes(container: str, suffix: str) -> None:
    assert kind_of(sndfile_bytes(tone(0.2, 16_000), 16_000, container)) == ("sound", suffix)


@pytest.mark.parametrize(("name", "codec", "suffix"), [("a.m4a", "aac", ".m4a"), ("a.aac", "aac", ".aac"),
                                                       ("a.webm", "libopus", ".webm")])  # fmt: skip
def test_sounds_of_ffmpeg_are_recognised_too(name: str, codec: str, suffix: str, tmp_path: Path) -> None:
    path = write_with_ffmpeg(tmp_path / name, tone(0.2, 48_000), 48_000, codec)
    assert kind_of(path.read_bytes()) == ("sound", suffix)


def test_text_and_json_are_neither() -> None:
    assert [kind_of(content) for content in (b"", b"{}", b"place", b"\x80\x04\x95pickle")] == [None] * 4


def test_nested_records_become_dotted_names_on_one_line() -> None:
    record = {"gps": {"lat": 1.5, "box": {"w": 2}}, "caption": "two\nlines\x07", "tags": ["a", "b"], "none": None}
    assert fields_of({**record, "nan": float("nan"), "yes": True, "deep": [{"a": 1}]}) == {
        **{"gps.lat": "1.5", "gps.box.w": "2", "caption": "two lines\ufffd", "tags": "a, b", "yes": "true"}
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON, max_size=8))
def test_fields_of_any_record_are_single_lines_that_utf_8_can_hold(record: dict[str, Any]) -> None:
    for name, text in fields_of(record).items():
        assert name
        assert 0 < len(text) <= MOST_LETTERS
        assert len(f"{name}{text}".splitlines()) == 1
        f"{name}{text}".encode()
    json.dumps(fields_of(record))


def test_long_texts_and_many_fields_are_cut() -> None:
    fields = fields_of({"text": "x" * 10_000, **{f"f{number}": 1 for number in range(1000)}})
    assert (len(fields), len(fields["text"]), fields["text"][-1]) == (MOST_FIELDS, MOST_LETTERS, "…")


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        *(("license: cc-by-4.0", "cc-by-4.0"), ("license: 'cc-by-4.0'  # of all", "cc-by-4.0")),
        *(("license:\n- cc0-1.0\n- mit", "cc0-1.0, mit"), ("license: [cc0-1.0, mit]", "cc0-1.0, mit")),
        ("pretty_name: x\nlicense: other\nlicense_name: research only\nlicense_link: LICENSE", "research only"),
        *(("license: other", "other"), ("task: y", ""), ("licence: CC BY 4.0", "CC BY 4.0"), ("license:", "")),
    ],
)
def test_the_licence_of_a_card_is_that_of_its_front_matter(front: str, licence: str, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    for newline in ("\n", "\r\n"):
        card.write_text(f"---\n{front}\n---\n\nlicense: not this\n", newline=newline)
        assert licence_in_card(card) == licence


def test_a_card_without_front_matter_or_with_a_hostile_one_states_little(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    assert licence_in_card(card) == ""
    card.write_text("license: cc-by-4.0\n")
    assert licence_in_card(card) == ""
    card.write_text(f"---\nlicense: <script>[x](y)|`{'a' * 500}\n---\n")
    assert len(licence_in_card(card)) == 120
    assert not set("<>[]|`") & set(licence_in_card(card))
