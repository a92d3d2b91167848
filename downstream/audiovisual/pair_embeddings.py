"""Embeds images and sounds of labelled pairs with both frozen towers; loader processes read and decode them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from downstream.audiovisual.benchmark import ScenePair
from downstream.audiovisual.pair_views import PairView
from downstream.running.corrupt import refuse_corrupt
from pretrain import distributed
from pretrain.data.batches import next_batch, training_loader
from pretrain.model import TwoTower
from pretrain.precision import autocast
from pretrain.training.embedding import PairEmbeddings, embed_images, embed_sounds
from shards.array_files import read_arrays
from shards.atomic_files import write_bytes_atomically
from shards.errors import RejectedPair
from shards.progress import ProgressLine
from shards.records import DamagedRecord


class PairBatches(IterableDataset[dict[str, Any]]):
    """Pairs in order, in batches; worker w of W makes every W-th batch.

    A batch holds "keys", "image" (n, 3, s, s) uint8, "sounds", of each pair (crops, 1, mel bands, frames) uint8, and
    "faults", a sentence for each pair that can't be decoded, which is left out.
    """

    def __init__(self, pairs: Sequence[ScenePair], view: PairView, *, batch_size: int) -> None:
        super().__init__()
        self.pairs = pairs
        self.view = view
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        starts = range(0, len(self.pairs), self.batch_size)
        for start in starts[first::stride]:
            yield self._read(self.pairs[start : start + self.batch_size])

    def _read(self, pairs: Sequence[ScenePair]) -> dict[str, Any]:
        view = self.view
        keys, images, sounds, faults = [], [], [], []
        for pair in pairs:
            try:
                image, sound = view.image(pair), view.sound(pair.sound)
            except RejectedPair as error:
                faults.append(f"{pair.key}: {error}")
                continue
            keys.append(pair.key)
            images.append(image)
            sounds.append(sound)
        no_image = np.empty((0, 3, view.image_size, view.image_size), np.uint8)
        return {
            "keys": keys,
            "image": torch.from_numpy(np.stack(images) if images else no_image),
            "sounds": [torch.from_numpy(sound) for sound in sounds],
            "faults": faults,
        }


def embed_pairs(
    model: TwoTower,
    pairs: Sequence[ScenePair],
    view: PairView,
    *,
    batch_size: int,
    workers: int,
    precision: str,
    max_corrupt: float,
    should_stop: Callable[[int], bool] = lambda step: False,
) -> tuple[PairEmbeddings, list[str]] | None:
    """Embeds image and sound of every pair; the work is shared by all processes, which return the same result.

    Args:
        model: the towers, in evaluation mode, on their device.
        pairs: the pairs, with unique keys.
        view: preprocessing of a pair.
        batch_size: pairs embedded at once by each process.
        workers: loader processes per process.
        precision: "bf16" or "fp32".
        max_corrupt: maximum share of undecodable pairs.
        should_stop: called after each batch; True stops the work.

    Returns:
        The embeddings, in the order of `pairs`, and a message for each undecodable pair; None if stopped.

    Raises:
        UserError: too many pairs can't be decoded; the message names the first.
    """
    rank, world = distributed.rank(), distributed.num_processes()
    own = pairs[rank::world]
    batches = PairBatches(own, view, batch_size=batch_size)
    stream = iter(training_loader(batches, workers=workers, pin_memory=False))
    keys: list[str] = []
    images, sounds = [np.empty((0, model.config.embedding_dim), np.float32)], []
    faults: list[str] = []
    device = next(model.parameters()).device
    # The same number of turns on every process, because in each turn they agree whether to stop.
    turns = math.ceil(math.ceil(len(pairs) / world) / batch_size)
    with ProgressLine("embedding", len(pairs), enabled=distributed.is_first()) as progress:
        for turn in range(turns):
            if turn * batch_size < len(own):
                batch = next_batch(stream)
                image, sound = _embed(model, batch, device, precision)
                images.append(image)
                sounds.append(sound)
                keys += batch["keys"]
                faults += batch["faults"]
            refuse_corrupt(faults, len(pairs), "pairs", max_corrupt)
            progress.advance(min(len(pairs), (turn + 1) * batch_size * world) - progress.done)
            if should_stop(turn + 1):
                return None
    gathered = distributed.gather_objects((keys, np.concatenate(images), np.concatenate([images[0], *sounds]), faults))
    faults = [fault for part in gathered for fault in part[3]]
    refuse_corrupt(faults, len(pairs), "pairs", max_corrupt)
    return _in_order(pairs, gathered), faults


@torch.inference_mode()
def _embed(
    model: TwoTower, batch: dict[str, Any], device: torch.device, precision: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not batch["keys"]:
        nothing = np.empty((0, model.config.embedding_dim), np.float32)
        return nothing, nothing
    with autocast(device, precision):
        images = embed_images(model, batch["image"].numpy())
        return images, _embed_by_length(model, [sound.numpy() for sound in batch["sounds"]])


def _embed_by_length(model: TwoTower, sounds: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Embeds sounds, those of one number of frames at once: n × (crops, 1, mel bands, frames) → (n, d)."""
    found = np.empty((len(sounds), model.config.embedding_dim), np.float32)
    for frames in sorted({sound.shape[-1] for sound in sounds}):
        rows = [row for row, sound in enumerate(sounds) if sound.shape[-1] == frames]
        crops = np.concatenate([sounds[row] for row in rows])
        found[rows] = embed_sounds(model, crops, [len(sounds[row]) for row in rows])
    return found


def _in_order(pairs: Sequence[ScenePair], gathered: list[Any]) -> PairEmbeddings:
    """The embeddings of all processes, in the order of the pairs."""
    keys = [key for part in gathered for key in part[0]]
    position = {pair.key: i for i, pair in enumerate(pairs)}
    order = sorted(range(len(keys)), key=lambda i: position[keys[i]])
    image, sound = (np.concatenate([part[i] for part in gathered])[order] for i in (1, 2))
    return PairEmbeddings([keys[i] for i in order], image, sound)


def save_embeddings(path: Path, embeddings: PairEmbeddings, faults: list[str]) -> None:
    """Writes `path` (npz): keys (n,), image and sound (n, d), faults."""
    buffer = io.BytesIO()
    keys, sentences = (np.array(values, dtype=np.str_) for values in (embeddings.keys, faults))
    np.savez(buffer, keys=keys, image=embeddings.image, sound=embeddings.sound, faults=sentences)
    write_bytes_atomically(path, buffer.getvalue())


def load_embeddings(path: Path) -> tuple[PairEmbeddings, list[str]] | None:
    """Reads what `save_embeddings` wrote; None if it is missing or incomplete."""
    try:
        keys, image, sound, faults = read_arrays(path, ("keys", "image", "sound", "faults")).values()
    except DamagedRecord:
        return None
    return PairEmbeddings(keys.tolist(), image, sound), faults.tolist()
