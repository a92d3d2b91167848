"""Embeds a split of a shard set with trained towers: one image and one sound embedding per pair."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain import distributed
from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.data.image_transforms import ImageView, evaluation_image
from pretrain.data.seeds import sample_seed
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.streaming.reading import ShardSet, StoredSample

Inputs = TypeVar("Inputs")
Result = TypeVar("Result")
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


class PairInputs(NamedTuple):
    """Pairs as inputs of the towers.

    Attributes:
        pixels: evaluation views of their images, (n, 3, size, size) uint8.
        crops: crops of their sounds, (m, 1, mel bands, frames) uint8, grouped by sound.
        crops_of_sound: number of crops of each sound, n counts that sum to m.
    """

    pixels: NDArray[np.uint8]
    crops: NDArray[np.uint8]
    crops_of_sound: list[int]


def pair_inputs(config: TwoTowerConfig, samples: Sequence[StoredSample], crop_starts: CropStarts) -> PairInputs:
    """Reads pairs as the towers take them for evaluation; errors as `embed_pairs_of`."""
    pixels = np.stack([evaluation_image(sample.image(), config.image_size) for sample in samples])
    frames = config.num_frames
    crops = [[sample.frames(start, frames) for start in crop_starts(sample)] for sample in samples]
    all_crops = np.stack([crop for of_sound in crops for crop in of_sound])[:, None]
    return PairInputs(pixels, all_crops, list(map(len, crops)))


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
    return _embed_inputs(model, pair_inputs(model.config, samples, crop_starts))


@torch.inference_mode()
def _embed_inputs(model: TwoTower, inputs: PairInputs) -> Embeddings:
    return embed_images(model, inputs.pixels), embed_sounds(model, inputs.crops, inputs.crops_of_sound)


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

    def read(samples: list[StoredSample]) -> PairInputs:
        return pair_inputs(model.config, samples, crop_starts)

    def embed(inputs: PairInputs) -> Embeddings:
        embeddings = _embed_inputs(model, inputs)
        on_batch(len(inputs.pixels))
        return embeddings

    return PairEmbeddings(*_embed_in_turn(model, shard_set, split, read, embed, batch_size))


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

    def read(samples: list[StoredSample]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images = [(sample.image(), sample.key) for sample in samples]
        first, second = (
            np.stack([view(image, sample_seed(0, number, key)) for image, key in images]) for number in (0, 1)
        )
        return first, second

    def embed(views: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> Embeddings:
        return embed_images(model, views[0]), embed_images(model, views[1])

    _, first, second = _embed_in_turn(model, shard_set, split, read, embed, batch_size)
    return first, second


def embed_images(model: TwoTower, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeds images on the model's device: (n, 3, s, s) uint8 → (n, d) float32."""
    return model.encode_image(torch.from_numpy(pixels).to(model.image_mean.device)).float().cpu().numpy()


def _embed_in_turn(
    model: TwoTower,
    shard_set: ShardSet,
    split: str,
    read: Callable[[list[StoredSample]], Inputs],
    embed: Callable[[Inputs], Embeddings],
    batch_size: int,
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Embeds every pair, in the order of the tar files; of W processes, process r embeds pairs r, r + W, …

    While a batch is embedded, a thread reads the next one.

    Returns:
        The keys and both embeddings of all pairs.
    """
    numbers = range(distributed.rank(), shard_set.num_samples(split), distributed.num_processes())
    keys: list[str] = []
    empty = np.empty((0, model.config.embedding_dim), dtype=np.float32)
    embeddings = [(empty, empty)]

    def read_batch(batch: range) -> tuple[list[str], Inputs]:
        samples = [shard_set.sample(split, number) for number in batch]
        return [sample.key for sample in samples], read(samples)

    for batch_keys, inputs in _one_ahead(read_batch, _batches(numbers, batch_size)):
        embeddings.append(embed(inputs))
        keys += batch_keys
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


def _batches(numbers: range, batch_size: int) -> Iterator[range]:
    for start in range(0, len(numbers), batch_size):
        yield numbers[start : start + batch_size]


def _one_ahead(read: Callable[[range], Result], batches: Iterable[range]) -> Iterator[Result]:
    """`map(read, batches)` by a thread that reads one batch ahead of the one in use."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Result]] = deque()
        for batch in batches:
            waiting.append(thread.submit(read, batch))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
