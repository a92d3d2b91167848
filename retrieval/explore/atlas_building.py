"""Writes and reads the files of an atlas; pairs are embedded directly into them, and an interrupted build resumes."""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretrain.model import TwoTower
from pretrain.training.embedding import embed_pairs_of, spread_crops
from retrieval.finite import refuse_not_finite
from retrieval.pair_metadata import readable_metadata
from shards.array_files import open_array
from shards.atomic_files import write_text_atomically
from shards.errors import UserError, disk_remedy
from shards.progress import ProgressLine
from shards.records import Count, read_json_as
from shards.schema import place_of
from shards.streaming.reading import ShardSet, StoredSample

RECORD_NAME = "atlas.json"
"""Written last: without it, the atlas is incomplete."""
PROGRESS_NAME = "progress.json"
BLOCK_PAIRS = 512
"""Approximate number of pairs flushed to disk at once; an interrupted build loses at most this many."""
MOST_LABELS = 1000
"""Maximum number of distinct labels; further ones count as unusable."""
MOST_LABEL_CHARACTERS = 200
COUNTS = ("without_place", "with_unusable_place", "without_label", "with_unusable_label")


@dataclass(frozen=True)
class PairNumbers:
    """Numbers the pairs of some splits of a shard set 0 … n − 1, one split after the other.

    Attributes:
        shard_set: the shard set.
        splits: the splits, in the order of the numbers.
        ends: one past the last number of each split.
    """

    shard_set: ShardSet
    splits: tuple[str, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, shard_set: ShardSet, splits: tuple[str, ...]) -> PairNumbers:
        """Numbers the pairs of these splits.

        Raises:
            UserError: the splits are empty.
        """
        ends = tuple(np.cumsum([shard_set.num_samples(split) for split in splits]).tolist())
        if not ends or ends[-1] == 0:
            held = ", ".join(f"{name} {count}" for name, count in shard_set.manifest.splits.items())
            chosen = ", ".join(splits) or "none"
            raise UserError(f"splits {chosen} of {shard_set.folder} contain no pairs; it has {held}: choose others")
        return cls(shard_set, splits, ends)

    def __len__(self) -> int:
        return self.ends[-1]

    def within_split(self, number: int) -> tuple[str, int]:
        """The split of a pair and its number there; raises IndexError if there is no such pair."""
        if not 0 <= number < len(self):
            raise IndexError(f"pair {number} of {len(self)}")
        which = bisect_right(self.ends, number)
        return self.splits[which], number - (self.ends[which - 1] if which else 0)

    def sample(self, number: int) -> StoredSample:
        """The stored pair with this number; raises IndexError if there is no such pair."""
        return self.shard_set.sample(*self.within_split(number))


@dataclass
class Findings:
    """A summary of the metadata of the pairs read so far.

    Attributes:
        done: number of pairs read and flushed to disk.
        label_names: in order of first occurrence.
        counts: see `retrieval.explore.atlas.Atlas`.
    """

    done: Count = 0
    label_names: Annotated[list[str], Field(max_length=MOST_LABELS)] = field(default_factory=list)
    counts: dict[str, Count] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))

    def read(self, sample: StoredSample) -> tuple[tuple[float, float], int]:
        """Longitude and latitude of a pair (NaN if missing), and the index of its label (−1 if missing)."""
        metadata = readable_metadata(sample)
        if metadata is None:
            metadata = {"longitude": "unreadable", "label": 0}
        return self._place(metadata), self._label(metadata.get("label"))

    def _place(self, metadata: dict[str, Any]) -> tuple[float, float]:
        if place := place_of(metadata):
            return place
        is_without = metadata.get("longitude") is None and metadata.get("latitude") is None
        self.counts["without_place" if is_without else "with_unusable_place"] += 1
        return math.nan, math.nan

    def _label(self, label: object) -> int:
        name = " ".join(label.split()) if isinstance(label, str) else label
        if name is None or name == "":
            self.counts["without_label"] += 1
            return -1
        if name in self.label_names:
            return self.label_names.index(name)
        is_full = len(self.label_names) >= MOST_LABELS
        if not isinstance(name, str) or len(name) > MOST_LABEL_CHARACTERS or not name.isprintable() or is_full:
            self.counts["with_unusable_label"] += 1
            return -1
        self.label_names.append(name)
        return len(self.label_names) - 1


@dataclass(frozen=True)
class _Record:
    """`atlas.json`, as far as it is read."""

    findings: Findings


@dataclass(frozen=True)
class AtlasContents:
    """The contents of a complete atlas.

    Attributes:
        arrays: "image_embeddings", "sound_embeddings", "places", "labels", memory-mapped for reading.
        label_names, counts: see `retrieval.explore.atlas.Atlas`.
    """

    arrays: dict[str, NDArray[Any]]
    label_names: list[str]
    counts: dict[str, int]


def read_atlas(folder: Path, shape: tuple[int, int]) -> AtlasContents | None:
    """Opens the files of an atlas; returns None if it is incomplete or has another shape.

    Args:
        folder: folder of the files.
        shape: number of pairs and dimensions.
    """
    try:
        findings = read_json_as(_Record, folder / RECORD_NAME).findings
        return AtlasContents(_open_arrays(folder, shape, "r"), findings.label_names, findings.counts)
    except (OSError, ValueError):
        return None


def num_embedded(folder: Path, shape: tuple[int, int]) -> int:
    """The number of pairs that an interrupted build has embedded in a folder; 0 if there is none."""
    try:
        _open_arrays(folder, shape, "r")
        return read_json_as(Findings, folder / PROGRESS_NAME).done
    except (OSError, ValueError):
        return 0


def bytes_of(shape: tuple[int, int]) -> int:
    """The size of the arrays of an atlas."""
    return sum(np.dtype(dtype).itemsize * math.prod(its_shape) for dtype, its_shape in _layout_of(shape).values())


def build_atlas(
    folder: Path, model: TwoTower, numbers: PairNumbers, *, crops: int, batch_size: int, provenance: dict[str, Any]
) -> AtlasContents:
    """Embeds the pairs into files of `folder`, resuming an interrupted build, with a progress bar.

    Only one batch is held in memory at a time.

    Raises:
        UserError: see `retrieval.explore.atlas.open_atlas`.
    """
    shape = (len(numbers), model.config.embedding_dim)
    (folder / RECORD_NAME).unlink(missing_ok=True)
    arrays, findings = _resume(folder, shape) or (_make_arrays(folder, shape), Findings())
    crop_starts = spread_crops(model.config.num_frames, crops)
    block = batch_size * max(1, BLOCK_PAIRS // batch_size)
    with ProgressLine("embedding pairs", len(numbers), done=findings.done) as progress:
        while findings.done < len(numbers):
            end = min(findings.done + block, len(numbers))
            for start in range(findings.done, end, batch_size):
                rows = slice(start, min(start + batch_size, end))
                samples = [numbers.sample(number) for number in range(rows.start, rows.stop)]
                embeddings = embed_pairs_of(model, samples, crop_starts)
                refuse_not_finite([sample.key for sample in samples], *embeddings)
                arrays["image_embeddings"][rows], arrays["sound_embeddings"][rows] = embeddings
                for number, sample in enumerate(samples, start):
                    arrays["places"][number], arrays["labels"][number] = findings.read(sample)
                progress.advance(len(samples))
            for array in arrays.values():
                array.flush()  # type: ignore[attr-defined]
            findings.done = end
            _write_json(folder / PROGRESS_NAME, asdict(findings))
    _write_json(folder / RECORD_NAME, {"provenance": provenance, "findings": asdict(findings)})
    (folder / PROGRESS_NAME).unlink(missing_ok=True)
    contents = read_atlas(folder, shape)
    assert contents is not None
    return contents


def _layout_of(shape: tuple[int, int]) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Type and shape of every array of an atlas."""
    return {
        "image_embeddings": (np.float32, shape),
        "sound_embeddings": (np.float32, shape),
        "places": (np.float32, (shape[0], 2)),
        "labels": (np.int32, shape[:1]),
    }


def _open_arrays(folder: Path, shape: tuple[int, int], mode: Any) -> dict[str, NDArray[Any]]:
    """Opens the arrays; raises OSError or ValueError if one is missing, damaged or of another shape."""
    arrays = {}
    for name, (dtype, its_shape) in _layout_of(shape).items():
        array = open_array(folder / f"{name}.npy", mode)
        if (array.dtype, array.shape) != (np.dtype(dtype), its_shape) or not array.flags.c_contiguous:
            raise ValueError(f"{name}.npy is {array.dtype} {array.shape}")
        arrays[name] = array
    return arrays


def _make_arrays(folder: Path, shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    (folder / PROGRESS_NAME).unlink(missing_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        for name, (dtype, its_shape) in _layout_of(shape).items():
            path = folder / f"{name}.npy"
            path.unlink(missing_ok=True)  # another process may have it mapped
            arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=its_shape)
            with path.open("r+b") as file:
                # Writing to a mapped file on a full disk would end the process with a bus error.
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        for name in _layout_of(shape):
            (folder / f"{name}.npy").unlink(missing_ok=True)
        raise UserError(f"the atlas {folder} can't be written: {error.strerror}; {disk_remedy(error)}") from error
    return arrays


def _resume(folder: Path, shape: tuple[int, int]) -> tuple[dict[str, NDArray[Any]], Findings] | None:
    """The arrays and findings of an interrupted build, None if there is none."""
    try:
        findings = read_json_as(Findings, folder / PROGRESS_NAME)
        return _open_arrays(folder, shape, "r+"), findings
    except (OSError, ValueError):
        return None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_text_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
