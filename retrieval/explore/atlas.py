"""The atlas of the explorer: memory-mapped embeddings, coordinates and labels of a shard set's pairs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pretrain.model import TwoTower
from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME, find_model_folder
from pretrain.model_registry import models_folder
from retrieval.explore.atlas_building import AtlasContents, PairNumbers, build_atlas, read_atlas
from retrieval.explore.gallery_index import EXACT_UP_TO, GalleryIndex, build_index, open_index
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.locks import lock_folder
from shards.manifest import MANIFEST_NAME
from shards.schema import SPLITS
from shards.streaming.reading import ShardSet, StoredSample

ATLAS_FORMAT_VERSION = 1
"""Increase it when the same weights and shards give other files."""
ATLASES_FOLDER = "explore"
AT_WORK = "another command is embedding these pairs"

Modality = Literal["image", "sound"]
MODALITIES: tuple[Modality, Modality] = ("image", "sound")


@dataclass(frozen=True)
class Atlas:
    """Embedded pairs of one or more splits.

    Searching is thread-safe; reading samples is not, because opening a tar may close another.

    Pairs are numbered 0 … n − 1 through the splits in the order train, val, test, and within each through its shards.

    Attributes:
        folder: folder of the files.
        shard_set: the shard set.
        image_embeddings, sound_embeddings: (n, d), row i from pair i; memory-mapped.
        places: (n, 2) longitude and latitude in degrees, NaN for pairs without; memory-mapped.
        labels: (n,) index into `label_names`, −1 for pairs without; memory-mapped.
        label_names: in order of first occurrence.
        counts: number of pairs "without_place", "with_unusable_place", "without_label" and "with_unusable_label";
            unusable values, such as a latitude of 95 or a label that is not a text, don't count as missing.
        provenance: "weights", "weights_sha256" (of model.safetensors), "shards", "manifest_sha256", "splits", "crops".
        indexes: indexes of the "image" and "sound" embeddings.
        numbers: maps the pairs to their numbers.
    """

    folder: Path
    shard_set: ShardSet
    image_embeddings: NDArray[np.float32]
    sound_embeddings: NDArray[np.float32]
    places: NDArray[np.float32]
    labels: NDArray[np.int32]
    label_names: list[str]
    counts: dict[str, int]
    provenance: dict[str, Any]
    indexes: dict[Modality, GalleryIndex]
    numbers: PairNumbers

    @classmethod
    def of(
        cls,
        folder: Path,
        numbers: PairNumbers,
        contents: AtlasContents,
        provenance: dict[str, Any],
        *,
        exact_up_to: int = EXACT_UP_TO,
    ) -> Atlas:
        """Opens the atlas in a folder; a missing or damaged index is rebuilt."""
        image, sound = contents.arrays["image_embeddings"], contents.arrays["sound_embeddings"]
        # Images are searched by sounds, and sounds by images.
        indexes: dict[Modality, GalleryIndex] = {
            "image": _index(folder / "image.faiss", image, sound, exact_up_to),
            "sound": _index(folder / "sound.faiss", sound, image, exact_up_to),
        }
        return cls(
            folder=folder,
            shard_set=numbers.shard_set,
            **contents.arrays,
            label_names=contents.label_names,
            counts=contents.counts,
            provenance=provenance,
            indexes=indexes,
            numbers=numbers,
        )

    def __len__(self) -> int:
        return len(self.image_embeddings)

    def embeddings(self, modality: Modality) -> NDArray[np.float32]:
        """The embeddings of one modality, (n, d)."""
        return {"image": self.image_embeddings, "sound": self.sound_embeddings}[modality]

    def sample(self, number: int) -> StoredSample:
        """The stored pair with this number.

        Raises:
            IndexError: there is no such pair.
        """
        return self.numbers.sample(number)

    def nearest(
        self, modality: Modality, query: NDArray[Any], count: int, among: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The pairs whose images or sounds are nearest to a query.

        Args:
            modality: the modality to search, "image" or "sound".
            query: (d,), an embedding of either modality.
            count: number of pairs, at least 1.
            among: (n,) which pairs are searched; None for all.

        Returns:
            Their numbers (min(count, n),), nearest first, and their Euclidean distances. See `indexes[modality]` for
            how they are searched.
        """
        index = self.indexes[modality]
        return index.search(query, count) if among is None else index.search_among(query, count, among)

    def distances(self, modality: Modality, query: NDArray[Any]) -> NDArray[np.float32]:
        """Euclidean distances (n,) of all images or sounds to a query (d,), by brute force."""
        return self.indexes[modality].distances(query)


def open_atlas(
    model: TwoTower,
    weights: Path,
    shard_set: ShardSet,
    *,
    splits: tuple[str, ...],
    crops: int,
    folder: Path,
    batch_size: int = 16,
    exact_up_to: int = EXACT_UP_TO,
) -> Atlas:
    """Opens the atlas of a model and a shard set; missing files are created first, with a progress bar.

    The folder's name is a hash of the weights, manifest, splits and crops, so that stale files are never used. An
    interrupted build resumes.

    Args:
        model: the towers, in evaluation mode.
        weights: their run folder or model folder.
        shard_set: the shard set.
        splits: its splits to include.
        crops: evenly spaced sound crops whose embeddings are averaged.
        folder: folder of all atlases, created if missing.
        batch_size: pairs embedded at once.
        exact_up_to: maximum number of pairs that are searched without an approximate index.

    Raises:
        UserError: a split is unknown or all are empty, an image can't be decoded, an embedding is not finite, the
            folder can't be written, or another process is building the same atlas.
    """
    numbers = PairNumbers.of(shard_set, in_order(splits))
    if crops < 1 or batch_size < 1:
        raise UserError(f"crops and batch_size must be >= 1, got {crops} and {batch_size}")
    provenance = _provenance(weights, shard_set, numbers.splits, crops)
    place = folder / _name(provenance)
    shape = (len(numbers), model.config.embedding_dim)
    contents = read_atlas(place, shape)
    if contents is None:
        for split in numbers.splits:
            shard_set.check_files(split)
        with lock_folder(place, AT_WORK, setting="cache"):
            contents = read_atlas(place, shape) or build_atlas(
                place, model, numbers, crops=crops, batch_size=batch_size, provenance=provenance
            )
    return Atlas.of(place, numbers, contents, provenance, exact_up_to=exact_up_to)


def place_of_atlas(weights: Path, numbers: PairNumbers, crops: int, folder: Path) -> Path:
    """Where in the folder of all atlases the one of these weights and pairs is, or would be."""
    return folder / _name(_provenance(weights, numbers.shard_set, numbers.splits, crops))


def folder_beside(weights: Path) -> Path:
    """The folder of all atlases of weights unless another is given; of weights by name, beside the fetched files."""
    if weights.is_dir():
        return weights / ATLASES_FOLDER
    return models_folder() / str(weights).replace("/", "--") / ATLASES_FOLDER


def _index(path: Path, gallery: NDArray[np.float32], queries: NDArray[np.float32], exact_up_to: int) -> GalleryIndex:
    try:
        return open_index(gallery, path, exact_up_to=exact_up_to)
    except UserError:  # missing or damaged
        with lock_folder(path.parent, AT_WORK, setting="cache"):
            return build_index(gallery, queries, path, exact_up_to=exact_up_to)


def in_order(splits: tuple[str, ...]) -> tuple[str, ...]:
    """These splits, in the order in which an atlas numbers their pairs.

    Raises:
        UserError: a split is unknown.
    """
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}; choose from: {', '.join(SPLITS)}")
    return tuple(split for split in SPLITS if split in splits)


def _provenance(weights: Path, shard_set: ShardSet, splits: tuple[str, ...], crops: int) -> dict[str, Any]:
    model_folder = find_model_folder(weights)
    return {
        "weights": str(weights),
        "weights_sha256": file_sha256(model_folder / WEIGHTS_NAME),
        "config_sha256": file_sha256(model_folder / CONFIG_NAME),
        "shards": str(shard_set.folder),
        "manifest_sha256": file_sha256(shard_set.folder / MANIFEST_NAME),
        "splits": list(splits),
        "crops": crops,
    }


def _name(provenance: dict[str, Any]) -> str:
    """The name of an atlas's folder; where weights and shards are does not matter."""
    record = {**provenance, "weights": "", "shards": "", "format_version": ATLAS_FORMAT_VERSION}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
