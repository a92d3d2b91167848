"""Shards: plain WebDataset tars of fixed bytes, and an index that finds every member and every frame in them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.building.writing import ShardWriter, encode_metadata, encode_spectrogram
from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.schema import MAX_KEY_CHARACTERS, Sample
from shards.streaming.entries import read_frames, read_member
from shards.streaming.index import entries_in_tar, load_index

NAME = "train-000003.tar"


def make_sample(key: str, num_frames: int, *, preview: bytes | None = None) -> Sample:
    generator = np.random.default_rng(num_frames)
    return Sample(
        key=key,
        image=b"\xff\xd8" + generator.bytes(700 + num_frames),
        spectrogram=generator.integers(0, 256, (128, num_frames), dtype=np.uint8),
        metadata={"title": "Höhe “x”", "longitude": 1.5, "latitude": -2.0},
        preview=preview,
    )


SAMPLES = [
    make_sample("7", 128, preview=b"first"),
    make_sample("b_2-x", 300),
    make_sample("k" * MAX_KEY_CHARACTERS, 129, preview=b"third"),
]


ENTRIES: dict[Path, ShardEntry] = {}
"""Of the tars that `write` has written."""


def write(folder: Path, samples: list[Sample] = SAMPLES, *, with_previews: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    with ShardWriter(folder, NAME, with_previews=with_previews) as writer:
        for sample in samples:
            writer.add(sample)
        ENTRIES[folder / NAME] = writer.finish()
    return folder / NAME


def test_webdataset_alone_reads_a_shard(tmp_path: Path) -> None:
    path = write(tmp_path)
    read = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [sample.key for sample in SAMPLES]
    for sample, expected in zip(read, SAMPLES, strict=True):
        assert sample["jpg"] == expected.image
        assert json.loads(sample["json"]) == {"key": expected.key, **expected.metadata}
        spectrogram = np.load(io.BytesIO(sample["spectrogram.npy"]), allow_pickle=False)
        assert spectrogram.flags.f_contiguous
        assert spectrogram.dtype == np.uint8
        assert np.array_equal(spectrogram, expected.spectrogram)


def test_members_stand_in_order_with_fixed_headers(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path)) as tar:
        members = tar.getmembers()
    assert [member.name.partition(".")[2] for member in members] == ["jpg", "json", "spectrogram.npy"] * 3
    for member in members:
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == 0o644
        assert member.isfile()
    assert not any(tar.pax_headers for _ in members)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    for name in (NAME, "train-000003.index.npy", f"previews/{NAME}"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    with ShardWriter(tmp_path, NAME, with_previews=False) as writer:
        writer.add(SAMPLES[0])
        checksum = writer.finish()
    data = (tmp_path / NAME).read_bytes()
    assert (checksum.bytes, checksum.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(data) % tarfile.RECORDSIZE == 0


def test_the_index_says_what_scanning_the_tar_finds(tmp_path: Path) -> None:
    path = write(tmp_path)
    samples = load_index(tmp_path, ENTRIES[path])
    assert tuple(samples) == entries_in_tar(path)
    assert [entry.num_frames for entry in samples] == [128, 300, 129]
    data = path.read_bytes()
    starts = [entry.offset for entry in samples]
    assert starts == [0, samples[0].bytes, samples[0].bytes + samples[1].bytes]
    for entry, sample in zip(samples, SAMPLES, strict=True):
        part = io.BytesIO(data[entry.offset : entry.offset + entry.bytes])
        with tarfile.open(fileobj=part) as tar:
            assert tar.getnames() == [f"{sample.key}.{member}" for member in ("jpg", "json", "spectrogram.npy")]
        with path.open("rb") as file:
            assert read_member(file, entry, "jpg") == sample.image


def test_previews_lie_beside_under_the_same_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    previews = path.parent / "previews" / NAME
    with tarfile.open(previews) as tar:
        assert tar.getnames() == ["7.mp3", f"{'k' * MAX_KEY_CHARACTERS}.mp3"]
    stated = ENTRIES[path].previews
    assert stated is not None
    assert stated.bytes == previews.stat().st_size
    assert ENTRIES[write(tmp_path / "none", with_previews=False)].previews is None
    assert not (tmp_path / "none" / "previews").exists()


@settings(deadline=None)  # the first call writes the shard
@given(first=st.integers(0, 300), count=st.integers(1, 300))
def test_frames_are_those_of_the_whole_spectrogram(tmp_path_factory: pytest.TempPathFactory, first: int, count: int):
    path = tmp_path_factory.getbasetemp() / "frames" / NAME
    if not path.exists():
        write(path.parent)
    entry = entries_in_tar(path)[1]
    with path.open("rb") as file:
        if first + count > 300:
            with pytest.raises(ValueError, match="not within"):
                read_frames(file, entry, first, count)
        else:
            frames = read_frames(file, entry, first, count)
            assert frames.flags.f_contiguous
            assert np.array_equal(frames, SAMPLES[1].spectrogram[:, first : first + count])


def test_nothing_is_left_of_a_shard_that_was_not_finished(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, NAME, with_previews=True) as writer:
        writer.add(SAMPLES[0])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_empty_shard_is_a_tar(tmp_path: Path) -> None:
    path = write(tmp_path, [])
    assert tuple(load_index(tmp_path, ENTRIES[path])) == entries_in_tar(path) == ()
    with tarfile.open(path) as tar:
        assert tar.getnames() == []


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "é", "k" * (MAX_KEY_CHARACTERS + 1)])
def test_a_key_that_can_name_no_sample_is_refused(tmp_path: Path, key: str) -> None:
    with (
        ShardWriter(tmp_path, NAME, with_previews=False) as writer,
        pytest.raises(ValueError, match="can't name a sample"),
    ):
        writer.add(make_sample(key, 128))


@pytest.mark.parametrize(
    "spectrogram",
    [
        np.zeros((128, 127), np.uint8),
        np.zeros((64, 128), np.uint8),
        np.zeros((128, 128), np.float32),
        np.zeros(128, np.uint8),
    ],
)
def test_only_spectrograms_are_stored_as_such(spectrogram: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a spectrogram must be uint8"):
        encode_spectrogram(spectrogram)


def test_metadata_has_sorted_keys_in_utf8_and_no_nan() -> None:
    assert encode_metadata({"b": "ü", "a": 1}) == '{"a": 1, "b": "ü"}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        encode_metadata({"longitude": float("nan")})


def test_a_truncated_tar_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path)
    entry = entries_in_tar(path)[1]
    start, length = entry.members["spectrogram.npy"]
    with path.open("rb+") as file:
        file.truncate(start + length - 5)
    with path.open("rb") as file:
        read_frames(file, entry, 0, 128)
        with pytest.raises(UserError, match="truncated"):
            read_frames(file, entry, 299, 1)
        with pytest.raises(UserError, match="truncated"):
            read_member(file, entry, "spectrogram.npy")
    with pytest.raises(UserError, match="not a readable shard"):
        entries_in_tar(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((128, 128), np.uint8),
        np.zeros((128, 64), np.uint16, order="F"),
        np.zeros((2, 8192), np.uint8, order="F"),
    ],
)
def test_another_array_in_place_of_a_spectrogram_is_noticed(tmp_path: Path, array: np.ndarray) -> None:
    path = write(tmp_path)
    entry = entries_in_tar(path)[0]
    start, length = entry.members["spectrogram.npy"]
    buffer = io.BytesIO()
    np.save(buffer, array)
    assert len(buffer.getvalue()) == length
    with path.open("rb+") as file:
        file.seek(start)
        file.write(buffer.getvalue())
    with path.open("rb") as file, pytest.raises(UserError, match=r"not uint8|has 2 mel bands"):
        read_frames(file, entry, 0, 128)
