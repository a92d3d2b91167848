"""A split of a shard set through trained towers: one image and one sound embedding a pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain import distributed
from pretrain.audio_transforms import spread_crop_starts
from pretrain.image_transforms import evaluation_image
from pretrain.model import TwoTower
from shards.reading import ShardSet, StoredSample

CropStarts = Callable[[StoredSample], list[int]]
"""First frames of the sound crops whose embeddings are averaged."""


@dataclass(frozen=True)
class PairEmbeddings:
    """Embeddings of a split, row i of each from pair i.

    Attributes:
        keys: the pairs' keys, in the order of the tars.
        image: (n, d) float32.
        sound: (n, d) float32.
    """

    keys: list[str]
    image: NDArray[np.float32]
    sound: NDArray[np.float32]


def spread_crops(num_frames: int, crops: int) -> CropStarts:
    """Up to `crops` evenly spaced crops of `num_frames` frames of each sound."""
    return lambda sample: spread_crop_starts(sample.num_frames, num_frames, crops)


@torch.inference_mode()
def embed_split(
    model: TwoTower,
    shard_set: ShardSet,
    split: str,
    *,
    crop_starts: CropStarts,
    batch_size: int = 64,
    on_batch: Callable[[int], None] = lambda done: None,
) -> PairEmbeddings:
    """Embeds every pair of a split; several processes share the work, and each gets all of the result.

    Args:
        model: the towers, in evaluation mode.
        shard_set: where the pairs are.
        split: "train", "val" or "test".
        crop_starts: which crops of a sound are embedded and averaged.
        batch_size: pairs embedded at once.
        on_batch: called with the number of pairs that were just embedded, for progress.
    """
    device = next(model.parameters()).device
    numbers = range(distributed.rank(), shard_set.num_samples(split), distributed.num_processes())
    keys: list[str] = []
    images: list[NDArray[np.float32]] = []
    sounds: list[NDArray[np.float32]] = []
    for batch in _batches(numbers, batch_size):
        samples = [shard_set.sample(split, number) for number in batch]
        pixels = np.stack([evaluation_image(sample.image(), model.config.image_size) for sample in samples])
        images.append(model.encode_image(torch.from_numpy(pixels).to(device)).float().cpu().numpy())
        sounds.append(_mean_over_crops(model, samples, crop_starts, device))
        keys += [sample.key for sample in samples]
        on_batch(len(samples))
    empty = np.empty((0, model.config.embedding_dim), dtype=np.float32)
    parts = distributed.gather_objects((keys, np.concatenate([empty, *images]), np.concatenate([empty, *sounds])))
    # Process r embedded pairs r, r + W, …: deal them back into the order of the tars.
    order = np.argsort(np.concatenate([np.arange(len(part[0])) * len(parts) + r for r, part in enumerate(parts)]))
    all_keys = [key for part in parts for key in part[0]]
    return PairEmbeddings(
        [all_keys[i] for i in order],
        np.concatenate([part[1] for part in parts])[order],
        np.concatenate([part[2] for part in parts])[order],
    )


def _mean_over_crops(
    model: TwoTower, samples: list[StoredSample], crop_starts: CropStarts, device: torch.device
) -> NDArray[np.float32]:
    starts = [crop_starts(sample) for sample in samples]
    crops = np.stack(
        [
            sample.frames(start, model.config.num_frames)
            for sample, its_starts in zip(samples, starts, strict=True)
            for start in its_starts
        ]
    )
    embeddings = model.encode_sound(torch.from_numpy(crops[:, None]).to(device)).float().cpu().numpy()
    last = np.cumsum([len(its_starts) for its_starts in starts])
    return np.stack([part.mean(0) for part in np.split(embeddings, last[:-1])])


def _batches(numbers: range, batch_size: int) -> Iterator[range]:
    for start in range(0, len(numbers), batch_size):
        yield numbers[start : start + batch_size]
