"""How many queries have the image of a training pair, or a training place nearby."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from retrieval.pair_metadata import readable_metadata
from shards.building.describing import count_near
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT, place_of
from shards.streaming.reading import ShardSet

NEAR_METRES = (100, 1000)


def training_overlap(
    shard_set: ShardSet, keys: list[str], metadata: list[dict[str, Any]], with_training_image: Collection[str] | None
) -> dict[str, int | None]:
    """Counts the queries that resemble training pairs.

    Args:
        shard_set: the set, with its training shards.
        keys: of the queries.
        metadata: of the queries.
        with_training_image: keys of pairs whose image is also in training, identical or near-identical; None if that is
            not known.

    Returns:
        "num_queries"; "same_image", those in `with_training_image`; "within_100_m" and "within_1000_m", those with a
        training place so near. None where it is not known: the images or places of training can't be read, or no query
        has a place.
    """
    counts: dict[str, int | None] = {
        "num_queries": len(keys),
        "same_image": None if with_training_image is None else len(set(keys) & set(with_training_image)),
    }
    queries = [place for entry in metadata if (place := place_of(entry))]
    places = _training_places(shard_set) if queries else None
    near = count_near(queries, places, NEAR_METRES) if places is not None else dict.fromkeys(NEAR_METRES)
    return counts | {f"within_{metres}_m": count for metres, count in near.items()}


def _training_places(shard_set: ShardSet) -> list[tuple[float, float]] | None:
    """The places of training pairs; None if their shards can't be read."""
    try:
        found = [readable_metadata(sample) for sample in shard_set.samples(TRAIN_SPLIT)]
    except (UserError, OSError) as error:
        words = f"warning: how near training places are is not known ({error})"
        print(words, file=sys.stderr, flush=True)
        return None
    return [place for entry in found if entry is not None and (place := place_of(entry))]
