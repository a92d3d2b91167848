"""Writes a shard: the tar, its index and the tar of its listening clips; atomic and byte-identical on every run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shards.atomic_files import write_bytes_atomically
from shards.checksums import FileChecksum, checksum_of
from shards.manifest import ShardEntry
from shards.schema import (
    IMAGE_MEMBER,
    MAX_KEY_CHARACTERS,
    MEL_BANDS,
    METADATA_MEMBER,
    MIN_FRAMES,
    PREVIEW_MEMBER,
    PREVIEWS_FOLDER,
    SPECTROGRAM_MEMBER,
    Sample,
    is_valid_key,
)
from shards.streaming.entries import SampleEntry
from shards.streaming.index import encode_index, index_name
from shards.temporary_files import Temporary


def tar_name(split: str, number: int) -> str:
    """`<split>-<number:06d>.tar`."""
    return f"{split}-{number:06d}.tar"


class AtomicTar:
    """A tar that is written in one pass to a temporary file and renamed when it is complete.

    Headers are USTAR with time 0, owner 0 and mode 0644, so that equal members give equal bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = Temporary(path)
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._file: BinaryIO = self._temporary.path.open("wb")

    def add(self, name: str, data: bytes) -> int:
        """Appends a member and returns the offset of its data."""
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = len(data), 0o644, 0
        self._write(header.tobuf(tarfile.USTAR_FORMAT))
        start = self.size
        self._write(data)
        self._pad(tarfile.BLOCKSIZE)
        return start

    def complete(self) -> FileChecksum:
        """Ends the tar, flushes it to disk and returns its checksum; `publish` then renames it."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._pad(tarfile.RECORDSIZE)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileChecksum(self.size, self._sha256.hexdigest())

    def publish(self) -> None:
        """Renames the completed tar to its final name."""
        self._temporary.keep()

    def discard(self) -> None:
        """Removes the temporary file if it was not published."""
        # On a full disk closing fails too, because it writes the buffer.
        with contextlib.suppress(OSError):
            self._file.close()
        self._temporary.discard()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.size += len(data)

    def _pad(self, multiple: int) -> None:
        self._write(bytes(-self.size % multiple))


class ShardWriter:
    """Writes one shard: `folder/<name>`, its index, and `folder/previews/<name>`; use it as a context manager.

    No file has its final name before `finish`; without it, all temporary files are removed.

    Args:
        folder: the shard set.
        name: file name of the tar.
        with_previews: whether the samples have listening clips.
    """

    def __init__(self, folder: Path, name: str, *, with_previews: bool, mel_bands: int = MEL_BANDS) -> None:
        self._tar = AtomicTar(folder / name)
        self._mel_bands = mel_bands
        self._previews: AtomicTar | None = None
        if with_previews:
            (folder / PREVIEWS_FOLDER).mkdir(exist_ok=True)
            self._previews = AtomicTar(folder / PREVIEWS_FOLDER / name)
        self._entries: list[SampleEntry] = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.discard()
        if self._previews is not None:
            self._previews.discard()

    def add(self, sample: Sample) -> SampleEntry:
        """Appends a sample: image, JSON and spectrogram, in that order.

        Raises:
            ValueError: the key can't name a sample, or the spectrogram is not uint8 (mel bands, T).
        """
        if not is_valid_key(sample.key) or len(sample.key) > MAX_KEY_CHARACTERS:
            raise ValueError(f"{sample.key!r} can't name a sample")
        members = {
            IMAGE_MEMBER: sample.image,
            METADATA_MEMBER: encode_metadata({"key": sample.key, **sample.metadata}),
            SPECTROGRAM_MEMBER: encode_spectrogram(sample.spectrogram, self._mel_bands),
        }
        offset = self._tar.size
        places = {
            extension: (self._tar.add(f"{sample.key}.{extension}", data), len(data))
            for extension, data in members.items()
        }
        entry = SampleEntry(sample.key, offset, self._tar.size - offset, places, sample.spectrogram.shape[1])
        self._entries.append(entry)
        if self._previews is not None and sample.preview is not None:
            self._previews.add(f"{sample.key}.{PREVIEW_MEMBER}", sample.preview)
        return entry

    def finish(self) -> ShardEntry:
        """Renames previews, index and tar, the tar last, to their final names; returns the shard's manifest entry."""
        previews = self._previews.complete() if self._previews else None
        tar, index = self._tar.complete(), encode_index(self._entries)
        name = self._tar.path.name
        split = name.rpartition("-")[0]
        entry = ShardEntry(
            name, split, len(self._entries), tar.bytes, tar.sha256, index=checksum_of(index), previews=previews
        )
        if self._previews is not None:
            self._previews.publish()
        write_bytes_atomically(self._tar.path.with_name(index_name(entry)), index)
        self._tar.publish()
        return entry


def encode_spectrogram(spectrogram: NDArray[np.uint8], mel_bands: int = MEL_BANDS) -> bytes:
    """Encodes a spectrogram, uint8 (mel_bands, T >= 128), as npy in Fortran order: the bands of a frame are adjacent.

    Raises:
        ValueError: another type or shape.
    """
    shape = spectrogram.shape
    if spectrogram.dtype != np.uint8 or len(shape) != 2 or shape[0] != mel_bands or shape[1] < MIN_FRAMES:
        raise ValueError(
            f"a spectrogram must be uint8 ({mel_bands}, T) with T >= {MIN_FRAMES}, got {spectrogram.dtype} {shape}"
        )
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asfortranarray(spectrogram), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def encode_metadata(metadata: dict[str, Any]) -> bytes:
    """Encodes a sample's JSON: UTF-8, sorted keys, no NaN."""
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True, allow_nan=False).encode("utf-8")
