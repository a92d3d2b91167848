"""A split of a shard set as a map-style dataset, for a plain `torch.utils.data.DataLoader`."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.data.image_transforms import evaluation_image
from shards.errors import UserError
from shards.manifest import Manifest
from shards.records import DamagedRecord
from shards.schema import SPLITS, place_of
from shards.streaming.cache import StreamSettings
from shards.streaming.reading import ShardSet, StoredSample
from shards.whole_numbers import check_whole


class Pair(TypedDict):
    """A pair as a dataset gives it; torch's default collation makes batches of it.

    Attributes:
        key: the pair's key.
        number: its place in the split.
        image: (3, height, width) uint8.
        sound: (1, mel bands, frames) uint8, as stored.
        longitude, latitude: in degrees; NaN if the pair has no place.
        title, label: "" if the pair has none.
    """

    key: str
    number: int
    image: Tensor
    sound: Tensor
    longitude: float
    latitude: float
    title: str
    label: str


class ShardDataset(Dataset[Any]):
    """The pairs of a split, in the order of its tars; each is read from its tar alone, through the index.

    It can be pickled, and each worker opens its own files. Random order over a set larger than memory reads all over
    the disk; the training loop of `pretrain/run.py` avoids that.

    Args:
        shards: folder or URL of the shard set.
        split: "train", "val" or "test".
        image_size: side in pixels of the evaluation view, the central 3/4 of the stored image; None: the whole stored
            image, whose size differs between pairs.
        num_frames: frames of the central crop of the spectrogram, of which a shorter one is repeated; None: the whole
            spectrogram, whose length differs between pairs.
        transform: called with each `Pair`; what it returns is the item.
        stream: cache and retries of a set that is read by URL.

    Raises:
        TypeError: a size is no whole number, or the transform can't be called.
        UserError: there is no such set, the split is unknown, a file is missing, or a size is below 1.
    """

    def __init__(
        self,
        shards: str | Path,
        split: str,
        *,
        image_size: int | None = 192,
        num_frames: int | None = 128,
        transform: Callable[[Pair], Any] | None = None,
        stream: StreamSettings | None = None,
    ) -> None:
        for name, value in (("image_size", image_size), ("num_frames", num_frames)):
            if value is not None:
                check_whole(**{name: value})
            if value is not None and value < 1:
                raise UserError(f"{name} must be >= 1, or None for what is stored, got {value}")
        if split not in SPLITS:
            several = "; torch.utils.data.ConcatDataset joins several" if split == "all" else ""
            raise UserError(f"unknown split {split!r}; choose one of: {', '.join(SPLITS)}{several}")
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be a function of a pair, got {transform!r}")
        self.shards = shards
        self.split = split
        self.image_size = image_size
        self.num_frames = num_frames
        self.transform = transform
        self._shard_set = ShardSet.open(shards, stream)
        self._shard_set.check_files(split)

    @property
    def manifest(self) -> Manifest:
        """What is in the set, how it was built, and how its spectrograms were computed."""
        return self._shard_set.manifest

    def __len__(self) -> int:
        return self._shard_set.num_samples(self.split)

    def __repr__(self) -> str:
        return f"ShardDataset({str(self.shards)!r}, {self.split!r}: {len(self):,} pairs)"

    @override
    def __getitem__(self, number: int) -> Any:
        """A `Pair`, or what `transform` makes of it; negative numbers count from the end.

        Raises:
            TypeError: it is no whole number, such as a slice.
            IndexError: there is no such pair.
            UserError: the pair can't be read.
        """
        sample = self._sample(number)
        metadata = _readable(sample)
        longitude, latitude = place_of(metadata) or (math.nan, math.nan)
        pair = Pair(
            key=sample.key,
            number=index(number) % len(self),
            image=self._image(sample),
            sound=self._sound(sample),
            longitude=longitude,
            latitude=latitude,
            title=_text(metadata, "title"),
            label=_text(metadata, "label"),
        )
        return pair if self.transform is None else self.transform(pair)

    def metadata(self, number: int) -> dict[str, Any]:
        """All that the JSON of a pair says, such as creator and licence.

        Raises:
            IndexError: there is no such pair.
            UserError: it can't be read.
        """
        return self._sample(number).metadata()

    def keys(self) -> list[str]:
        """The keys of all pairs, in their order; reads the indexes alone."""
        return [sample.key for sample in self._shard_set.samples(self.split)]

    def _sample(self, number: int) -> StoredSample:
        try:
            number = index(number)
        except TypeError:
            raise TypeError(
                f"index with a whole number, got {number!r}; use torch.utils.data.Subset for ranges"
            ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"index {number} is out of range for {len(self)} pairs")
        return self._shard_set.sample(self.split, number % len(self))

    def _image(self, sample: StoredSample) -> Tensor:
        image = sample.image()
        if self.image_size is not None:
            return torch.from_numpy(evaluation_image(image, self.image_size))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def _sound(self, sample: StoredSample) -> Tensor:
        frames = sample.num_frames if self.num_frames is None else self.num_frames
        [start] = spread_crop_starts(sample.num_frames, frames, 1)
        # Copied, because the stored bytes are read-only and lie frame by frame.
        return torch.from_numpy(np.array(sample.frames(start, frames), order="C"))[None]


def _readable(sample: StoredSample) -> dict[str, Any]:
    try:
        return sample.metadata()
    except DamagedRecord:
        return {}


def _text(metadata: dict[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value if isinstance(value, str) else ""
