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
from shards.schema import MAX_KEY_CHARACTERS, Sample
from shards.streaming.index import build_index_from_tar, index_path, load_index, read_frames, read_member

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


def write(folder: Path, samples: list[Sample] = SAMPLES, *, with_previews: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    with ShardWriter(folder, NAME, with_previews=with_previews) as writer:
        for sample in samples:
            writer.add(sample)
        writer.finish()
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
    for name in (NAME, index_path(first).name, f"previews/{NAME}"):
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
    index = load_index(path)
    assert index.samples == build_index_from_tar(path).samples
    assert [entry.num_frames for entry in index.samples] == [128, 300, 129]
    data = path.read_bytes()
    starts = [entry.offset for entry in index.samples]
    assert starts == [0, index.samples[0].bytes, index.samples[0].bytes + index.samples[1].bytes]
    for entry, sample in zip(index.samples, SAMPLES, strict=True):
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
    stated = load_index(path).previews
    assert stated is not None
    assert stated.bytes == previews.stat().st_size
    assert load_index(write(tmp_path / "none", with_previews=False)).previews is None
    assert not (tmp_path / "none" / "previews").exists()


@settings(deadline=None)  # the first call writes the shard
@given(first=st.integers(0, 300), count=st.integers(1, 300))
def test_frames_are_those_of_the_whole_spectrogram(tmp_path_factory: pytest.TempPathFactory, first: int, count: int):
    path = tmp_path_factory.getbasetemp() / "frames" / NAME
    if not path.exists():
        write(path.parent)
    entry = load_index(path).samples[1]
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
    assert load_index(path).samples == build_index_from_tar(path).samples == ()
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


def test_a_tar_without_its_index_says_so(tmp_path: Path) -> None:
    path = write(tmp_path)
    index_path(path).unlink()
    with pytest.raises(UserError, match="has no index"):
        load_index(path)


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 1}', '{"format_version": 2, "samples": []}', "\0"])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path)
    index_path(path).write_text(text)
    with pytest.raises(UserError, match=r"train-000003\.index\.json.*; copy the shard set again"):
        load_index(path)


def write_with(folder: Path, field: str, value: object) -> Path:
    """A tar in whose index a field of the second sample has another value."""
    path = write(folder)
    record = json.loads(index_path(path).read_text())
    record["samples"][1][field] = value
    index_path(path).write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", 2**40), ("bytes", 2**40), ("members", {"jpg": [512, 2**40]}), ("members", {"jpg": [0, 2**40]})],
)
def test_an_index_that_points_beyond_the_tar_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path = write_with(tmp_path, field, value)
    with pytest.raises(UserError, match=r"sample .* is not within the [0-9,]+ bytes of the tar; copy"):
        load_index(path, path.stat().st_size)


@pytest.mark.parametrize(("field", "value"), [("offset", -1), ("bytes", 1e400), ("num_frames", "x"), ("key", "a/b")])
def test_an_index_with_a_wrong_value_names_it(tmp_path: Path, field: str, value: object) -> None:
    path = write_with(tmp_path, field, value)
    with pytest.raises(UserError, match=rf"samples\.1\.{field}: "):
        load_index(path)


def test_an_index_of_another_tar_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.rename(tmp_path / "val-000000.tar")
    index_path(path).rename(index_path(tmp_path / "val-000000.tar"))
    with pytest.raises(UserError, match=r"is the index of 'train-000003\.tar'"):
        load_index(tmp_path / "val-000000.tar")


def test_a_truncated_tar_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path)
    entry = load_index(path).samples[1]
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
        build_index_from_tar(path)


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
    entry = load_index(path).samples[0]
    start, length = entry.members["spectrogram.npy"]
    buffer = io.BytesIO()
    np.save(buffer, array)
    assert len(buffer.getvalue()) == length
    with path.open("rb+") as file:
        file.seek(start)
        file.write(buffer.getvalue())
    with path.open("rb") as file, pytest.raises(UserError, match=r"not uint8|has 2 mel bands"):
        read_frames(file, entry, 0, 128)
