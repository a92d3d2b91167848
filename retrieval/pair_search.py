"""Searches the pairs of a shard set by one's own images or sounds, through the index and the cache of the explorer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pretrain.model import refuse_other_spectrograms
from retrieval.audiovisual_model import AudiovisualModel
from retrieval.embedding import hear_as_learned
from retrieval.explore.atlas import Atlas, Modality, folder_beside, open_atlas
from retrieval.loading import load
from retrieval.options import check_at_least, check_choice
from retrieval.pair_metadata import readable_metadata, text_of
from retrieval.source_embedding import Embedded, rows_of
from shards.errors import UserError
from shards.schema import SPLITS, place_of
from shards.streaming.reading import ShardSet


@dataclass(frozen=True)
class Hit:
    """A pair that was found.

    Attributes:
        rank: 1 for the nearest.
        key: the pair's key.
        distance: Euclidean distance between the query and the pair's image or sound.
        split: of the pair.
        title: "" if the pair has none.
        longitude, latitude: in degrees; None if the pair has no place.
        metadata: all that the pair's JSON says, such as creator and licence.
    """

    rank: int
    key: str
    distance: float
    split: str
    title: str
    longitude: float | None
    latitude: float | None
    metadata: dict[str, Any]


def search(
    model: AudiovisualModel | str | Path,
    shards: str | Path,
    *,
    images: Any = None,
    sounds: Any = None,
    sample_rate_hz: int | None = None,
    embeddings: NDArray[np.float32] | Embedded | None = None,
    among: Modality | None = None,
    split: Literal["test", "val", "train", "all"] = "test",
    count: int = 10,
    cache: str | Path | None = None,
    batch_size: int = 16,
) -> list[list[Hit]]:
    """The pairs of a split that are nearest to each of some queries.

    The pairs are embedded once, with the model's number of crops, and kept in the explorer's cache.

    Args:
        model: from `earshot.load`; or a folder or a name, which is loaded with the defaults on every call.
        shards: folder of the shard set.
        images: queries, as `AudiovisualModel.embed_images` takes them.
        sounds: queries, as `AudiovisualModel.embed_sounds` takes them.
        sample_rate_hz: of sounds that are waveforms without a rate.
        embeddings: queries (q, d), such as the mean of an image's and a sound's embedding, or an `Embedded`; exactly
            one of the three.
        among: what of the pairs is compared, "image" or "sound"; by default the other modality than the queries'.
        split: the split to search; the model was not trained on test pairs.
        count: pairs found for each query, at most.
        cache: folder for the embeddings; by default explore/ in the folder of the weights, or for weights by name the
            folder where fetched weights are kept.
        batch_size: pairs embedded at once.

    Returns:
        For each query its hits, nearest first.

    Raises:
        TypeError, ValueError: a query is of another type or shape.
        UserError: a mistake in an argument, a query can't be decoded, or the shards don't suit the model.
    """
    check_at_least(1, count=count, batch_size=batch_size)
    check_choice("split", split, (*SPLITS, "all"))
    if not isinstance(model, AudiovisualModel | str | Path):
        raise TypeError(f"model must be what earshot.load returns, or a folder or a name to load, got {model!r}")
    if sample_rate_hz is not None and sounds is None:
        raise ValueError("sample_rate_hz is for waveforms in sounds, and has no effect on other queries; omit it")
    if not isinstance(model, AudiovisualModel):
        model = load(model)
    queries, modality = _queries(model, images, sounds, sample_rate_hz, embeddings)
    if among is None and modality is None:
        raise UserError("among must be image or sound where embeddings are given")
    among = among or ("sound" if modality == "image" else "image")
    check_choice("among", among, ("image", "sound"))
    atlas = _atlas(model, Path(shards), split, Path(cache) if cache else folder_beside(model.weights), batch_size)
    return [_hits(atlas, among, query, count) for query in queries]


def _queries(
    model: AudiovisualModel, images: Any, sounds: Any, sample_rate_hz: int | None, embeddings: Any
) -> tuple[NDArray[np.float32], Modality | None]:
    given = [
        name
        for name, value in (("images", images), ("sounds", sounds), ("embeddings", embeddings))
        if value is not None
    ]
    if len(given) != 1:
        raise UserError(f"give images, sounds or embeddings as queries, got {' and '.join(given) or 'none of them'}")
    if images is not None:
        return model.embed_images(images), "image"
    if sounds is not None:
        return model.embed_sounds(sounds, sample_rate_hz), "sound"
    embeddings, dimensions = rows_of(embeddings), model.config.embedding_dim
    try:
        queries = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise TypeError(f"embeddings must be an array of numbers, got {type(embeddings).__name__}") from error
    if queries.ndim != 2 or queries.shape[1] != dimensions or not np.isfinite(queries).all():
        raise ValueError(f"embeddings must be finite and (q, {dimensions}), got shape {np.shape(embeddings)}")
    return queries, None


def _atlas(model: AudiovisualModel, shards: Path, split: str, folder: Path, batch_size: int) -> Atlas:
    shard_set = ShardSet.open(shards)
    spectrogram, counts = shard_set.manifest.spectrogram, shard_set.manifest.splits
    if not model.force:
        with _in_python():
            refuse_other_spectrograms(model.config.spectrogram, spectrogram, str(shards))
    hear_as_learned(model.towers, spectrogram, str(shards))
    splits = tuple(name for name in SPLITS if counts.get(name)) if split == "all" else (split,)
    return open_atlas(
        model.towers,
        model.weights,
        shard_set,
        splits=splits,
        crops=model.crops,
        folder=folder,
        batch_size=batch_size,
    )


@contextmanager
def _in_python() -> Iterator[None]:
    """Has the remedy of a command's message name the argument in place of the option."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("--force", "earshot.load(..., force=True)")) from error


def _hits(atlas: Atlas, among: Modality, query: NDArray[np.float32], count: int) -> list[Hit]:
    numbers, distances = atlas.nearest(among, query, count)
    return [
        _hit(atlas, rank, int(number), float(distance))
        for rank, (number, distance) in enumerate(zip(numbers, distances, strict=True), start=1)
    ]


def _hit(atlas: Atlas, rank: int, number: int, distance: float) -> Hit:
    sample = atlas.sample(number)
    metadata = readable_metadata(sample) or {}
    longitude, latitude = place_of(metadata) or (None, None)
    split, _ = atlas.numbers.within_split(number)
    return Hit(rank, sample.key, distance, split, text_of(metadata, "title"), longitude, latitude, metadata)
