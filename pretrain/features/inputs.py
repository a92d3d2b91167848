"""Inputs of frozen encoders, made by loader processes: the views of a block of pairs at a time."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from typing_extensions import override

from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.data.image_transforms import evaluation_image
from pretrain.data.seeds import sample_seed
from pretrain.data.views import Views
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT
from shards.streaming.reading import ShardSet

MODALITIES = ("image", "sound")
"""The inputs that become features; other entries are stored as they are."""


class EncoderInputs(IterableDataset[dict[str, Any]], abc.ABC):
    """Views of the pairs of `blocks`, one view of a block after another; worker w of W makes every W-th.

    Attributes:
        num_views: views of each pair.
        blocks: the pairs of each block, by number in the split.
    """

    num_views = 1

    def __init__(self, shard_set: ShardSet) -> None:
        super().__init__()
        self._shard_set = shard_set
        self.blocks: list[range] = []

    @abc.abstractmethod
    def make(self, rows: range, view: int) -> dict[str, Tensor]:
        """A view of n pairs: "image" (n, k, 3, s, s), "sound" (n, k, 1, bands, t), and others (n, …)."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        wanted = [(rows, view) for rows in self.blocks for view in range(self.num_views)]
        for rows, view in wanted[first::stride]:
            try:
                yield {"entries": self.make(rows, view)}
            except UserError as error:
                # Raised in a worker it would reach the user inside a traceback; `next_batch` raises it.
                yield {"error": str(error)}
                return


class RandomInputs(EncoderInputs):
    """The random views of training, drawn from a seed that is the same for all runs.

    Args:
        shard_set: where the pairs are.
        views: makes a view of a pair.
        num_views: views of each pair.
    """

    def __init__(self, shard_set: ShardSet, views: Views, num_views: int) -> None:
        super().__init__(shard_set)
        self._views = views
        self.num_views = num_views

    @override
    def make(self, rows: range, view: int) -> dict[str, Tensor]:
        entries = {
            name: torch.empty((len(rows), *shape), dtype=kind) for name, (shape, kind) in self._views.entries.items()
        }
        for place, number in enumerate(rows):
            sample = self._shard_set.sample(TRAIN_SPLIT, number)
            row = {name: entry[place].numpy() for name, entry in entries.items()}
            self._views.write(sample, sample_seed(0, view, sample.key), row)
        return {name: entry[:, None] if name in MODALITIES else entry for name, entry in entries.items()}


class CentralInputs(EncoderInputs):
    """The views of evaluation: the central part of the image and evenly spaced crops of the sound.

    Args:
        shard_set: where the pairs are.
        split: "val" or "test".
        image_size: side of the image in pixels.
        num_frames: frames of a crop.
        crops: largest number of crops; "crops" says how many a sound has, the others are empty.
    """

    def __init__(self, shard_set: ShardSet, split: str, image_size: int, num_frames: int, crops: int) -> None:
        super().__init__(shard_set)
        self._split = split
        self._image_size = image_size
        self._num_frames = num_frames
        self._crops = crops

    @override
    def make(self, rows: range, view: int) -> dict[str, Tensor]:
        images, sounds, counts = [], [], []
        mel_bands = self._shard_set.manifest.spectrogram.mel_bands
        for number in rows:
            sample = self._shard_set.sample(self._split, number)
            images.append(evaluation_image(sample.image(), self._image_size)[None])
            starts = spread_crop_starts(sample.num_frames, self._num_frames, self._crops)
            counts.append(len(starts))
            sound = np.zeros((self._crops, 1, mel_bands, self._num_frames), np.uint8)
            for place, start in enumerate(starts):
                sound[place, 0] = sample.frames(start, self._num_frames)
            sounds.append(sound)
        return {
            "image": torch.from_numpy(np.stack(images)),
            "sound": torch.from_numpy(np.stack(sounds)),
            "crops": torch.tensor(counts),
        }
