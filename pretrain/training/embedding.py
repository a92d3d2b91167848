"""Embeds a split of a shard set with trained towers: one image and one sound embedding per pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain import distributed
from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.data.image_transforms import ImageView, evaluation_image
from pretrain.data.seeds import sample_seed
from pretrain.model import TwoTower
from shards.streaming.reading import ShardSet, StoredSample

Embeddings = tuple[NDArray[np.float32], NDArray[np.float32]]

CropStarts = Callable[[StoredSample], list[int]]
"""Returns the first frames of a sample's sound crops, whose embeddings are averaged."""


@dataclass(frozen=True)
class PairEmbeddings:
    """Embeddings of a split, row i of each from pair i.

    Attributes:
        keys: the pairs' keys, in the order of the tar files.
        image: (n, d) float32.
        sound: (n, d) float32.
    """

    keys: list[str]
    image: NDArray[np.float32]
    sound: NDArray[np.float32]


def spread_crops(num_frames: int, crops: int) -> CropStarts:
    """Selects up to `crops` evenly spaced crops of `num_frames` frames from each sound."""
    return lambda sample: spread_crop_starts(sample.num_frames, num_frames, crops)


@torch.inference_mode()
def embed_pairs_of(model: TwoTower, samples: list[StoredSample], crop_starts: CropStarts) -> Embeddings:
    """Embeds pairs in a single batch.

    Args:
        model: the towers, in evaluation mode.
        samples: the n > 0 pairs.
        crop_starts: which crops of a sound are embedded and averaged.

    Returns:
        Image and sound embeddings, (n, d) float32 each, row i of both from pair i.

    Raises:
        UserError: a pair's image can't be decoded, or its shard is damaged.
    """
    pixels = np.stack([evaluation_image(sample.image(), model.config.image_size) for sample in samples])
    return embed_images(model, pixels), embed_sounds(model, *_crops_of(model, samples, crop_starts))


def embed_split(
    model: TwoTower,
    shard_set: ShardSet,
    split: str,
    *,
    crop_starts: CropStarts,
    batch_size: int = 64,
    on_batch: Callable[[int], None] = lambda done: None,
) -> PairEmbeddings:
    """Embeds every pair of a split; several processes share the work, and each gets the full result.

    Args:
        model: the towers, in evaluation mode.
        shard_set: the shard set with the pairs.
        split: "train", "val" or "test".
        crop_starts: which crops of a sound are embedded and averaged.
        batch_size: pairs per batch.
        on_batch: called with the number of pairs just embedded, for progress.
    """

    def embed(samples: list[StoredSample]) -> Embeddings:
        embeddings = embed_pairs_of(model, samples, crop_starts)
        on_batch(len(samples))
        return embeddings

    return PairEmbeddings(*_embed_in_turn(model, shard_set, split, embed, batch_size))


@torch.inference_mode()
def embed_two_views(
    model: TwoTower, shard_set: ShardSet, split: str, view: ImageView, *, batch_size: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeds two views of every image of a split, the same ones on every call; each process gets the full result.

    Args:
        model: the towers, in evaluation mode.
        shard_set: the shard set with the images.
        split: "train", "val" or "test".
        view: makes a view of an image.
        batch_size: images per batch.

    Returns:
        (n, d) and (n, d) float32, row i of both from image i.
    """

    def embed(samples: list[StoredSample]) -> Embeddings:
        images = [(sample.image(), sample.key) for sample in samples]
        first, second = (
            np.stack([view(image, sample_seed(0, number, key)) for image, key in images]) for number in (0, 1)
        )
        return embed_images(model, first), embed_images(model, second)

    _, first, second = _embed_in_turn(model, shard_set, split, embed, batch_size)
    return first, second


def embed_images(model: TwoTower, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeds images on the model's device: (n, 3, s, s) uint8 → (n, d) float32."""
    return model.encode_image(torch.from_numpy(pixels).to(model.image_mean.device)).float().cpu().numpy()


def _embed_in_turn(
    model: TwoTower,
    shard_set: ShardSet,
    split: str,
    embed: Callable[[list[StoredSample]], Embeddings],
    batch_size: int,
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Embeds every pair, in the order of the tar files; of W processes, process r embeds pairs r, r + W, …

    Returns:
        The keys and both embeddings of all pairs.
    """
    numbers = range(distributed.rank(), shard_set.num_samples(split), distributed.num_processes())
    keys: list[str] = []
    empty = np.empty((0, model.config.embedding_dim), dtype=np.float32)
    embeddings = [(empty, empty)]
    for batch in _batches(numbers, batch_size):
        samples = [shard_set.sample(split, number) for number in batch]
        embeddings.append(embed(samples))
        keys += [sample.key for sample in samples]
    first, second = (np.concatenate(part) for part in zip(*embeddings, strict=True))
    parts = distributed.gather_objects((keys, first, second))
    order = np.argsort(np.concatenate([np.arange(len(part[0])) * len(parts) + r for r, part in enumerate(parts)]))
    all_keys = [key for part in parts for key in part[0]]
    return (
        [all_keys[i] for i in order],
        np.concatenate([part[1] for part in parts])[order],
        np.concatenate([part[2] for part in parts])[order],
    )


def embed_sounds(model: TwoTower, crops: NDArray[np.uint8], crops_of_sound: Sequence[int]) -> NDArray[np.float32]:
    """Embeds sounds, on the model's device, as the mean over their crops.

    Args:
        model: the towers, in evaluation mode.
        crops: (m, 1, mel bands, frames) uint8, grouped by sound, in the order of the sounds.
        crops_of_sound: number of crops of each sound, n > 0 counts that sum to m.

    Returns:
        (n, d) float32.
    """
    embeddings = model.encode_sound(torch.from_numpy(crops).to(model.image_mean.device)).float().cpu().numpy()
    return mean_of_crops(embeddings, crops_of_sound)


def mean_of_crops(embeddings: NDArray[np.float32], crops_of_sound: Sequence[int]) -> NDArray[np.float32]:
    """Averages the embeddings of each sound's crops: (m, d), those of the first sound first → (n, d)."""
    return np.stack([part.mean(0) for part in np.split(embeddings, np.cumsum(crops_of_sound)[:-1])])


def _crops_of(
    model: TwoTower, samples: list[StoredSample], crop_starts: CropStarts
) -> tuple[NDArray[np.uint8], list[int]]:
    """Returns the crops of samples' sounds and their counts, as taken by `embed_sounds`."""
    frames = model.config.num_frames
    crops = [[sample.frames(start, frames) for start in crop_starts(sample)] for sample in samples]
    return np.stack([crop for of_sound in crops for crop in of_sound])[:, None], [len(of_sound) for of_sound in crops]


def _batches(numbers: range, batch_size: int) -> Iterator[range]:
    for start in range(0, len(numbers), batch_size):
        yield numbers[start : start + batch_size]
