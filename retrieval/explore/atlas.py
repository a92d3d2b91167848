"""What the explorer opens: a model's embeddings of a shard set's pairs with places and labels, memory-mapped."""

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
from pretrain.training.preparation import lock_folder
from retrieval.explore.atlas_building import AtlasContents, PairNumbers, build_atlas, read_atlas
from retrieval.explore.gallery_index import EXACT_UP_TO, GalleryIndex, build_index, open_index
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME
from shards.schema import SPLITS
from shards.streaming.reading import ShardSet, StoredSample

ATLAS_FORMAT_VERSION = 1
"""To be raised when the same weights and shards give other files."""
AT_WORK = "another command embeds these pairs now"

Modality = Literal["image", "sound"]
MODALITIES: tuple[Modality, Modality] = ("image", "sound")


@dataclass(frozen=True)
class Atlas:
    """Pairs of one or more splits as a model sees them.

    Threads can search it at once, but read its samples only one at a time, as tars are closed when others are opened.

    Pairs are numbered 0 … n − 1 through the splits in the order train, val, test, and in each through its shards.

    Attributes:
        folder: where the files lie.
        shard_set: where the pairs are.
        image_embeddings, sound_embeddings: (n, d), row i of both from pair i; memory-mapped.
        places: (n, 2) longitude and latitude in degrees, NaN where a pair has none; memory-mapped.
        labels: (n,) index into `label_names`, −1 where a pair has none; memory-mapped.
        label_names: in the order in which they first occur.
        counts: pairs "without_place", "with_unusable_place", "without_label" and "with_unusable_label"; the unusable
            ones, such as a latitude of 95 or a label that is no text, are not among those without.
        provenance: "weights", "weights_sha256" (of model.safetensors), "shards", "manifest_sha256", "splits", "crops".
        indexes: of the "image" and of the "sound" embeddings.
        numbers: which pair has which number.
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
        """The atlas whose files lie in a folder; an index that is missing or damaged is made there."""
        image, sound = contents.arrays["image_embeddings"], contents.arrays["sound_embeddings"]
        # A sound asks for images, and an image for sounds.
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

    def split_of(self, number: int) -> tuple[str, int]:
        """The split of a pair, and its number there."""
        return self.numbers.within_split(number)

    def sample(self, number: int) -> StoredSample:
        """The pair as it lies in its shard.

        Raises:
            IndexError: there is no such pair.
        """
        return self.numbers.sample(number)

    def nearest(
        self, modality: Modality, query: NDArray[Any], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The pairs whose images or sounds are nearest to a query.

        Args:
            modality: what is looked for, "image" or "sound".
            query: (d,), an embedding of either.
            count: how many, at least 1.

        Returns:
            Their numbers (min(count, n),), nearest first, and their Euclidean distances. `indexes[modality]` tells
            how they are searched.
        """
        return self.indexes[modality].search(query, count)

    def distances(self, modality: Modality, query: NDArray[Any]) -> NDArray[np.float32]:
        """The Euclidean distance of every pair's image or sound to a query (d,): (n,), by brute force."""
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
    """Opens the atlas of a model and a shard set; what of it is missing is made first, showing progress.

    It lies in a folder whose name follows from the weights, the manifest, the splits and the crops, so that nothing
    that was made from others is ever taken. An interrupted build resumes.

    Args:
        model: the towers, in evaluation mode.
        weights: the run folder or model folder that they are from.
        shard_set: where the pairs are.
        splits: which of its splits.
        crops: evenly spaced sound crops whose embeddings are averaged.
        folder: where atlases are kept, made where missing.
        batch_size: pairs embedded at once.
        exact_up_to: pairs of the largest atlas that is searched without an approximate index.

    Raises:
        UserError: no such split or no pairs in them, an image that can't be decoded, embeddings that are not finite, a
            folder that can't be written, or another process that makes the same atlas now.
    """
    numbers = PairNumbers.of(shard_set, _in_order(splits))
    if crops < 1 or batch_size < 1:
        raise UserError(f"crops and batch_size must be >= 1, got {crops} and {batch_size}")
    provenance = _provenance(weights, shard_set, numbers.splits, crops)
    place = folder / _digest({**provenance, "weights": "", "shards": "", "format_version": ATLAS_FORMAT_VERSION})[:12]
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


def _index(path: Path, gallery: NDArray[np.float32], queries: NDArray[np.float32], exact_up_to: int) -> GalleryIndex:
    try:
        return open_index(gallery, path, exact_up_to=exact_up_to)
    except UserError:  # missing or damaged
        with lock_folder(path.parent, AT_WORK, setting="cache"):
            return build_index(gallery, queries, path, exact_up_to=exact_up_to)


def _in_order(splits: tuple[str, ...]) -> tuple[str, ...]:
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


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
