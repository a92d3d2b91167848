"""Embedded pairs → ranks and what metrics.json holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retrieval.embedding import EmbeddedSplit
from retrieval.protocols import DIRECTIONS, Protocol, Ranking


@dataclass(frozen=True)
class Evaluation:
    """A ranked split.

    Attributes:
        protocol: how it was ranked.
        ranking: the embeddings in the order of the ranks, and the ranks.
        metadata: of each ranked pair.
        metrics: what metrics.json holds.
    """

    protocol: Protocol
    ranking: Ranking
    metadata: list[dict[str, Any]]
    metrics: dict[str, Any]


def score(protocol: Protocol, embedded: EmbeddedSplit) -> Evaluation:
    """Ranks embedded pairs under a protocol.

    Raises:
        UserError: the protocol can't rank these pairs.
    """
    selected = protocol.select(embedded.embeddings)
    ranking = protocol.rank(selected)
    number = {key: i for i, key in enumerate(embedded.embeddings.keys)}
    metrics: dict[str, Any] = {
        "protocol": protocol.name,
        "gallery_size": len(selected.keys),
        "chance": protocol.chance(len(selected.keys)),
        **{direction: protocol.metrics(ranking.bounds[direction]) for direction in DIRECTIONS},
        **embedded.provenance,
    }
    return Evaluation(protocol, ranking, [embedded.metadata[number[key]] for key in selected.keys], metrics)
