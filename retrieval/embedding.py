"""Embeds a split of a shard set and writes an npz with the embeddings, key and metadata of each pair."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pretrain.model import TwoTower, refuse_other_spectrograms
from pretrain.model_files import find_model_folder
from pretrain.precision import autocast
from pretrain.training.embedding import CropStarts, PairEmbeddings, embed_split
from retrieval.finite import refuse_not_finite
from retrieval.pair_metadata import readable_metadata
from shards.array_files import read_arrays
from shards.atomic_files import written_whole
from shards.errors import UserError
from shards.progress import ProgressLine
from shards.records import DamagedRecord, json_as
from shards.schema import SPLITS, SpectrogramSettings
from shards.streaming.reading import ShardSet


@dataclass(frozen=True)
class EmbeddedSplit:
    """The pairs of a split with their embeddings.

    Attributes:
        embeddings: keys, image embeddings and sound embeddings, in the same order.
        metadata: metadata of each pair from the shards: longitude, latitude, title, creator, licence …
        provenance: the weights, shards, split, crops and seed that were used.
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
        """Reads a file that `save` wrote; nothing is unpickled.

        Raises:
            UserError: the file is missing, or is not an embedding file of pairs.
        """
        remedy = "make one with 'python retrieval/run.py evaluate'"
        names = ("keys", "image_embeddings", "sound_embeddings", "metadata", "provenance")
        keys, image, sound, metadata, provenance = read_arrays(path, names, remedy).values()
        is_aligned = image.ndim == 2 and image.shape == sound.shape and len(image) == keys.size == metadata.size
        if not is_aligned or not all(np.issubdtype(array.dtype, np.floating) for array in (image, sound)):
            raise DamagedRecord(
                f"{path} does not hold embeddings (n, d) of n images and sounds with their keys; {remedy}"
            )
        refuse_not_finite(keys.tolist(), image, sound)
        return cls(
            PairEmbeddings([str(key) for key in keys.tolist()], image, sound),
            [json_as(dict[str, Any], str(text), f"{path}, metadata", remedy) for text in metadata.tolist()],
            json_as(dict[str, Any], str(provenance), f"{path}, provenance", remedy),
        )


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """Writes arrays to `path` atomically; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def make_folder(folder: Path) -> None:
    """Creates the output folder, and checks that it is writable before any work starts.

    Raises:
        UserError: it can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"out {folder} can't be written: {error.strerror}; give another folder") from error


def choose_device(name: str) -> torch.device:
    """The device with this name; "auto" selects the GPU if there is one.

    Raises:
        UserError: the device is unknown to torch or not available.
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
    """Loads the towers of a run folder or model folder in evaluation mode; warns if the sound tower was never trained.

    Raises:
        UserError: there are no weights, or the device is not available.
    """
    model = TwoTower.from_pretrained(find_model_folder(weights)).to(choose_device(device)).eval()
    if not model.config.sound_trained:
        print(
            f"warning: the sound tower of {weights} was never trained, because its method uses only images: images and "
            "sounds can't be compared",
            file=sys.stderr,
            flush=True,
        )
    return model


def hear_as_learned(model: TwoTower, spectrogram: SpectrogramSettings, where: str) -> None:
    """Has a model take spectrograms of any scale, and says so where they are converted.

    Args:
        model: the towers.
        spectrogram: how the spectrograms were computed.
        where: of what, for the message.

    Raises:
        UserError: the scale can't be converted.
    """
    if model.take_sounds_of(spectrogram.scale):
        theirs, own = spectrogram.scale, model.config.spectrogram.scale
        print(
            f"the spectrograms of {where} are converted from {theirs.name} to {own.name}, which the model learned from",
            file=sys.stderr,
            flush=True,
        )


def open_split(shards: Path, split: str) -> ShardSet:
    """Opens the shard set at `shards` and checks all files of the split.

    Raises:
        UserError: there is no shard set, the split is unknown or empty, or a tar is damaged.
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
    """Opens the towers and the shard set, and checks that their spectrograms match; warns of rasters that don't.

    Under `force`, spectrograms of another scale are converted to the scale that the model learned from; how they were
    computed still differs.

    Raises:
        UserError: as `load_model` and `open_split`; or, unless `force` is set, the spectrograms differ from those that
            the model was trained on.
    """
    model = load_model(weights, device)
    shard_set = open_split(shards, split)
    if not force:
        refuse_other_spectrograms(model.config.spectrogram, shard_set.manifest.spectrogram, str(shards))
    hear_as_learned(model, shard_set.manifest.spectrogram, str(shards))
    theirs, ours = model.config.rasters, shard_set.manifest.rasters.learned
    if theirs != ours:
        print(
            f"warning: rasters became images with {ours.describe()} in {shards}, but {weights} takes them with "
            f"{theirs.describe()}; images that come from rasters look different to the model",
            file=sys.stderr,
            flush=True,
        )
    return model, shard_set


def embed_pairs(
    model: TwoTower,
    shard_set: ShardSet,
    split: str,
    *,
    crop_starts: CropStarts,
    batch_size: int,
    precision: str,
    provenance: dict[str, Any],
) -> EmbeddedSplit:
    """Embeds every pair of a split, showing progress.

    Args:
        model: the towers, in evaluation mode.
        shard_set: the shard set.
        split: the split to embed.
        crop_starts: selects the crops of a sound to embed and average.
        batch_size: pairs embedded at once.
        precision: "bf16" or "fp32".
        provenance: stored with the result.

    Raises:
        UserError: an embedding is not finite.
    """
    progress = ProgressLine(f"embedding {split}", shard_set.num_samples(split))
    with progress, autocast(model.image_mean.device, precision):
        embeddings = embed_split(
            model, shard_set, split, crop_starts=crop_starts, batch_size=batch_size, on_batch=progress.advance
        )
    refuse_not_finite(embeddings.keys, embeddings.image, embeddings.sound)
    metadata = [readable_metadata(sample) for sample in shard_set.samples(split)]
    if unreadable := metadata.count(None):
        print(
            f"warning: the metadata of {unreadable} of the {len(metadata)} pairs can't be read and is left out; "
            "their embeddings are not affected",
            file=sys.stderr,
            flush=True,
        )
    return EmbeddedSplit(embeddings, [entry or {} for entry in metadata], provenance)
