"""Embedding files: weights and a split of a shard set → an npz with both embeddings, keys and metadata of each pair."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pretrain.embedding import CropStarts, PairEmbeddings, embed_split
from pretrain.model import TwoTower, refuse_other_spectrograms
from pretrain.model_files import find_model_folder
from retrieval.pair_metadata import readable_metadata
from shards.errors import UserError
from shards.progress import ProgressLine
from shards.schema import SPLITS
from shards.streaming.reading import ShardSet


@dataclass(frozen=True)
class EmbeddedSplit:
    """The pairs of a split with their embeddings.

    Attributes:
        embeddings: keys, image and sound embeddings, in one order.
        metadata: of each pair, as the shards hold it: longitude, latitude, title, creator, licence …
        provenance: what they were made from: weights, shards, split, crops, seed.
    """

    embeddings: PairEmbeddings
    metadata: list[dict[str, Any]]
    provenance: dict[str, Any]

    def save(self, path: Path) -> None:
        """Writes `path` (npz): image_embeddings, sound_embeddings (n, d), keys (n,), metadata (n,) JSON, provenance."""
        save_npz(
            path,
            image_embeddings=self.embeddings.image,
            sound_embeddings=self.embeddings.sound,
            keys=np.array(self.embeddings.keys, dtype=np.str_),
            metadata=np.array([json.dumps(entry, ensure_ascii=False) for entry in self.metadata], dtype=np.str_),
            provenance=np.array(json.dumps(self.provenance, ensure_ascii=False)),
        )

    @classmethod
    def load(cls, path: Path) -> EmbeddedSplit:
        """Reads what `save` wrote; nothing in it is unpickled.

        Raises:
            UserError: no such file, or not an embedding file of pairs.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                embeddings = PairEmbeddings(
                    arrays["keys"].tolist(), arrays["image_embeddings"], arrays["sound_embeddings"]
                )
                metadata = [json.loads(entry) for entry in arrays["metadata"].tolist()]
                return cls(embeddings, metadata, json.loads(str(arrays["provenance"])))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{path} is not an embedding file of pairs ({error}); make one with 'python retrieval/run.py evaluate'"
            ) from error


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """Writes arrays to `path` beside its place and renames the file there; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(partial, path)


def make_folder(folder: Path) -> None:
    """Makes the folder that results will be written to, before any work is done for them.

    Raises:
        UserError: it can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"out {folder} can't be written: {error.strerror}; name another folder") from error


def choose_device(name: str) -> torch.device:
    """The device that `name` stands for; "auto" takes the GPU where there is one.

    Raises:
        UserError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        message = str(error).splitlines()[0]
        raise UserError(f"device {name!r} can't be used ({message}); choose cpu, cuda or auto") from error
    return device


def load_model(weights: Path, device: str) -> TwoTower:
    """The towers of a run folder or a model folder, in evaluation mode; warns where the sounds' was never trained.

    Raises:
        UserError: no weights there, or no such device.
    """
    model = TwoTower.from_pretrained(find_model_folder(weights)).to(choose_device(device)).eval()
    if not model.config.sound_trained:
        print(
            f"warning: the sound tower of {weights} was never trained, for its method learns from images alone: images "
            "and sounds can't be compared",
            file=sys.stderr,
            flush=True,
        )
    return model


def open_split(shards: Path, split: str) -> ShardSet:
    """The shard set at `shards`, with every file of the split in its place.

    Raises:
        UserError: no shard set there, no such split, an empty one, or a damaged tar.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; choose one of: {', '.join(SPLITS)}")
    shard_set = ShardSet.open(shards)
    if shard_set.num_samples(split) == 0:
        counts = ", ".join(f"{name} {count}" for name, count in shard_set.manifest.splits.items())
        raise UserError(f"split {split} of {shards} holds no pairs; it has {counts}: choose another with --split")
    shard_set.check_files(split)
    return shard_set


def open_model_and_split(
    weights: Path, shards: Path, split: str, *, device: str, force: bool
) -> tuple[TwoTower, ShardSet]:
    """The towers and the shard set whose split they are to embed, which must fit each other.

    Raises:
        UserError: see `load_model` and `open_split`; or, unless `force`, spectrograms of another kind than the model
            was trained on.
    """
    model = load_model(weights, device)
    shard_set = open_split(shards, split)
    if not force:
        refuse_other_spectrograms(model.config.spectrogram, shard_set.manifest.spectrogram, str(shards))
    return model, shard_set


def embed_pairs(
    model: TwoTower,
    shard_set: ShardSet,
    split: str,
    *,
    crop_starts: CropStarts,
    batch_size: int,
    provenance: dict[str, Any],
) -> EmbeddedSplit:
    """Embeds every pair of a split, showing progress.

    Args:
        model: the towers, in evaluation mode.
        shard_set: where the pairs are.
        split: which of its splits.
        crop_starts: which crops of a sound are embedded and averaged.
        batch_size: pairs embedded at once.
        provenance: kept with the result.
    """
    with ProgressLine(f"embedding {split}", shard_set.num_samples(split)) as progress:
        embeddings = embed_split(
            model, shard_set, split, crop_starts=crop_starts, batch_size=batch_size, on_batch=progress.advance
        )
    metadata = [readable_metadata(sample) for sample in shard_set.samples(split)]
    if unreadable := metadata.count(None):
        print(
            f"warning: what is said of {unreadable} of the {len(metadata)} pairs can't be read and is left out; "
            "their embeddings are not affected",
            file=sys.stderr,
            flush=True,
        )
    return EmbeddedSplit(embeddings, [entry or {} for entry in metadata], provenance)
