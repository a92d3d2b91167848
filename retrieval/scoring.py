"""Ranks embedded pairs and computes the contents of metrics.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.ranking import Metrics, RankBounds
from pretrain.ranking.intervals import LEVEL, Figure, Units, bootstrap_intervals
from pretrain.ranking.scores import DIRECTIONS, INTERVALS
from pretrain.training.embedding import PairEmbeddings
from retrieval.distances_at_k import distances_at_k
from retrieval.embedding import EmbeddedSplit
from retrieval.metrics_file import LABEL_ONLY, PUBLISHED, WITHOUT_REPEATED
from retrieval.pair_metadata import text_of
from retrieval.protocols.protocol import Protocol, Ranking
from shards.errors import UserError


@dataclass(frozen=True)
class Evaluation:
    """A ranked split.

    Attributes:
        protocol: the protocol used.
        ranking: the ranked embeddings and their ranks.
        metadata: metadata of each ranked pair.
        metrics: the contents of metrics.json.
    """

    protocol: Protocol
    ranking: Ranking
    metadata: list[dict[str, Any]]
    metrics: dict[str, Any]


def score(protocol: Protocol, embedded: EmbeddedSplit, repeated: Collection[str] = ()) -> Evaluation:
    """Ranks embedded pairs under a protocol.

    Args:
        protocol: how pairs are ranked.
        embedded: the pairs.
        repeated: keys of pairs whose image is also in training or earlier in the split; metrics.json also has the
            scores without them.

    Raises:
        UserError: the protocol can't rank these pairs.
    """
    split = str(embedded.provenance.get("split", ""))
    selected = protocol.select(embedded.embeddings)
    ranking = protocol.rank(selected)
    number = {key: i for i, key in enumerate(embedded.embeddings.keys)}
    metadata = [embedded.metadata[number[key]] for key in selected.keys]
    metrics: dict[str, Any] = {
        "protocol": protocol.name,
        "gallery_size": len(selected.keys),
        "chance": protocol.chance(len(selected.keys)),
        **{direction: protocol.metrics(ranking.bounds[direction]) for direction in DIRECTIONS},
    }
    distances = distances_at_k(protocol, ranking, metadata)
    for part, means in distances.means().items():
        metrics[part] |= means
    metrics |= {
        INTERVALS: intervals_of(protocol, ranking, metadata, distances.of_queries),
        LABEL_ONLY: label_only(protocol, [text_of(entry, "label") or None for entry in metadata]),
        WITHOUT_REPEATED: without_repeated(protocol, embedded, repeated),
        PUBLISHED: protocol.published and protocol.published.beside(split, len(selected.keys)),
        **embedded.provenance,
    }
    return Evaluation(protocol, ranking, metadata, metrics)


def intervals_of(
    protocol: Protocol,
    ranking: Ranking,
    metadata: list[dict[str, Any]],
    km_of_queries: Mapping[str, Mapping[str, NDArray[np.float64]]] = MappingProxyType({}),
) -> dict[str, Any]:
    """95 % intervals of the scores of both directions by their keys, and what was drawn for them.

    Args:
        protocol: how ranks are counted, and which pairs are queries.
        ranking: n ranked pairs.
        metadata: of each; `recording` where clips were cut from longer ones.
        km_of_queries: direction → key of D@k → (q,) kilometres of each query.
    """
    queries = metadata[: protocol.num_queries(len(metadata))]
    units = Units.of_pairs(queries)
    found: dict[str, Any] = {"level": LEVEL, "unit": units.name, "num_units": units.count}
    for direction in DIRECTIONS:
        distances = {key: Figure(km, "mean") for key, km in km_of_queries.get(direction, {}).items()}
        intervals = bootstrap_intervals(protocol.figures(ranking.bounds[direction]) | distances, units)
        found[direction] = {key: list(bounds) for key, bounds in intervals.items()}
    return found


def without_repeated(protocol: Protocol, embedded: EmbeddedSplit, repeated: Collection[str]) -> dict[str, Any] | None:
    """The scores of a split without some of its pairs.

    Returns:
        num_left_out, gallery_size, chance, and the scores of both directions with their intervals; None if no pair is
        left out or all are, or if the protocol can't rank the others.
    """
    embeddings = embedded.embeddings
    number = {key: i for i, key in enumerate(embeddings.keys)}
    kept = [i for key, i in number.items() if key not in repeated]
    if len(kept) in (0, len(embeddings.keys)):
        return None
    others = PairEmbeddings([embeddings.keys[i] for i in kept], embeddings.image[kept], embeddings.sound[kept])
    try:
        ranking = protocol.rank(protocol.select(others))
    except UserError:
        return None
    size = len(ranking.embeddings.keys)
    return {
        "num_left_out": len(embeddings.keys) - len(kept),
        "gallery_size": size,
        "chance": protocol.chance(size),
        **{direction: protocol.metrics(ranking.bounds[direction]) for direction in DIRECTIONS},
        INTERVALS: intervals_of(protocol, ranking, [embedded.metadata[number[key]] for key in ranking.embeddings.keys]),
    }


def label_only(protocol: Protocol, labels: list[str | None]) -> Metrics | None:
    """The scores of a model that knows only each pair's label: all pairs with the same label are tied.

    Returns:
        The scores, equal in both directions; None if a pair has no label.
    """
    if None in labels:
        return None
    sizes = Counter(labels)
    tied = np.array([sizes[label] for label in labels], dtype=np.int64)
    return protocol.metrics(RankBounds(np.zeros_like(tied), tied))
