"""The index beside a tar: plain NumPy reads it, it says what the tar holds, and nothing in it is believed unchecked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_files import change_records, encoded, index_of, replace_index
from numpy.typing import NDArray
from tiny_shards import write_tiny_shards

from shards.checksums import checksum_of
from shards.errors import UserError
from shards.manifest import Manifest, ShardEntry
from shards.schema import MAX_KEY_CHARACTERS
from shards.streaming.entries import SampleEntry
from shards.streaming.index import encode_index, entries_in_tar, index_name, load_index, remove_index

MEMBERS = ("jpg", "json", "spectrogram.npy")
TAR_BYTES = 2**62


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, ShardEntry]:
    """A set, and the entry of a tar of seven samples."""
    folder = write_tiny_shards(tmp_path / "set", {"train": 7, "test": 3}, image_side=32, samples_per_shard=7)
    return folder, Manifest.load(folder).shards[0]


@st.composite
def entries(draw: st.DrawFn) -> SampleEntry:
    """Samples of any size, within a tar of `TAR_BYTES`."""
    key = draw(st.from_regex(rf"[A-Za-z0-9_-]{{1,{MAX_KEY_CHARACTERS}}}", fullmatch=True))
    offset, size = draw(st.integers(0, 2**61)), draw(st.integers(0, 2**61))
    starts = [draw(st.integers(offset, offset + size)) for _ in MEMBERS]
    places = [(start, draw(st.integers(0, offset + size - start))) for start in starts]
    return SampleEntry(key, offset, size, dict(zip(MEMBERS, places, strict=True)), draw(st.integers(0, 2**31)))


@given(samples=st.lists(entries(), max_size=20))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, samples: list[SampleEntry]) -> None:
    content = encode_index(samples)
    folder = tmp_path_factory.getbasetemp()
    entry = ShardEntry("any-000000.tar", "train", len(samples), TAR_BYTES, "0" * 64, index=checksum_of(content))
    (folder / index_name(entry)).write_bytes(content)
    read = load_index(folder, entry)
    assert list(read) == samples
    assert list(read[1:3]) == samples[1:3]
    assert len(read) == len(samples)


def test_plain_numpy_reads_it(shard: tuple[Path, ShardEntry]) -> None:
    folder, entry = shard
    records = np.load(index_of(folder / entry.name), mmap_mode="r")
    found = entries_in_tar(folder / entry.name)
    assert [key.decode() for key in records["key"]] == [sample.key for sample in found]
    assert records["offset"].tolist() == [sample.offset for sample in found]
    places = np.stack([records["spectrogram_offset"], records["spectrogram_bytes"]], axis=1)
    assert [tuple(place) for place in places.tolist()] == [sample.members["spectrogram.npy"] for sample in found]


def test_a_missing_index_is_named(shard: tuple[Path, ShardEntry]) -> None:
    folder, entry = shard
    remove_index(folder / entry.name)
    with pytest.raises(UserError, match=r"train-000000\.tar has no index: train-000000\.index\.npy is missing; copy"):
        load_index(folder, entry)


def test_an_index_of_another_size_or_content_is_refused(shard: tuple[Path, ShardEntry]) -> None:
    folder, entry = shard
    path = folder / index_name(entry)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"has [\d,]+ bytes, the manifest says [\d,]+; copy"):
        load_index(folder, entry)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="is not the index of the manifest: its checksum differs; copy"):
        load_index(folder, entry)


def test_a_count_that_differs_from_the_manifest_is_refused(shard: tuple[Path, ShardEntry]) -> None:
    folder, entry = shard
    with pytest.raises(UserError, match="has 7 samples, the manifest says 8; copy"):
        load_index(folder, dataclasses.replace(entry, num_samples=8))


def _set(field: str, value: object) -> Callable[[NDArray[np.void]], None]:
    def change(records: NDArray[np.void]) -> None:
        records[field][2] = value

    return change


def _shift_to_the_end(records: NDArray[np.void]) -> None:
    # Their sum overflows to a small number.
    records["offset"][2] = records["bytes"][2] = 2**63 - 1


@pytest.mark.parametrize(
    "change",
    [
        *(_set(field, value) for field in ("offset", "bytes", "jpg_offset", "json_bytes") for value in (-1, 2**62)),
        *(_set("spectrogram_bytes", value) for value in (-5, 10**6)),
        _set("num_frames", -1),
        _shift_to_the_end,
        lambda records: records["jpg_offset"].__setitem__(2, records["offset"][2] - 1),
    ],
)
def test_positions_beyond_the_tar_are_refused(
    shard: tuple[Path, ShardEntry], change: Callable[[NDArray[np.void]], None]
) -> None:
    folder, entry = shard
    entry = change_records(folder, entry, change)
    key = entries_in_tar(folder / entry.name)[2].key
    with pytest.raises(UserError, match=rf"sample {key} is not within the [\d,]+ bytes of the tar; copy"):
        load_index(folder, entry)


@pytest.mark.parametrize("key", [b"", b"a/b", b"a.b", b"\xe9", b"a\0b", b"\0a", b" "])
def test_keys_that_can_name_no_sample_are_refused(shard: tuple[Path, ShardEntry], key: bytes) -> None:
    folder, entry = shard
    entry = change_records(folder, entry, _set("key", key))
    with pytest.raises(UserError, match="the key of sample 2 can't name a sample; copy"):
        load_index(folder, entry)


def _as_other(kind: object) -> bytes:
    return encoded(np.zeros(7, kind))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY",
        b"{}",
        _as_other("<i8"),
        _as_other([("key", "S4"), ("offset", "<i8")]),
        _as_other([("key", f"S{MAX_KEY_CHARACTERS + 1}"), ("offset", "<i8")]),
        b"\x93NUMPY\x01\x00\xff\xff" + b"[" * 65535,
    ],
)
def test_a_file_that_is_no_index_is_refused(shard: tuple[Path, ShardEntry], content: bytes) -> None:
    folder, entry = shard
    with pytest.raises(UserError, match=r"train-000000\.index\.npy is not an index \(.*\); copy"):
        load_index(folder, replace_index(folder, entry, content))


def test_a_record_less_than_stated_is_refused(shard: tuple[Path, ShardEntry]) -> None:
    folder, entry = shard
    content = (folder / index_name(entry)).read_bytes()
    with pytest.raises(UserError, match=r"is not an index"):
        load_index(folder, replace_index(folder, entry, content[:-1]))
    with pytest.raises(UserError, match=r"can't be read"):
        load_index(folder, replace_index(folder, entry, b""))
