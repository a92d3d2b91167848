"""Selects the queries that the report shows, with their top matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.exhibits import QUERY_PICTURE_PIXELS, Exhibit, Exhibition
from retrieval.scoring import Evaluation

QUERIES_PER_GROUP = 4
NUM_MATCHES = 5
GROUPS = (
    ("best", "Best", "The true match ranks first, or as high as this model gets."),
    ("typical", "Typical", "The true match ranks near the median."),
    ("worst", "Worst", "The true match ranks among the last: what does the model prefer instead?"),
)


@dataclass(frozen=True)
class Match:
    """A match of a query: its rank, whether it is the true match, and its exhibit."""

    place: str
    is_true: bool
    exhibit: Exhibit


@dataclass(frozen=True)
class Query:
    """A query, its top matches, and its true match if it is not among them."""

    exhibit: Exhibit
    rank: str
    matches: list[Match]
    missed: Match | None


@dataclass(frozen=True)
class Group:
    """A group of queries under a heading."""

    name: str
    heading: str
    explanation: str
    queries: list[Query]


def choose_queries(ranks: NDArray[np.float64], labels: list[str], per_group: int) -> dict[str, list[int]]:
    """Selects best, typical and worst queries: no query twice and, within a group, no label twice if possible.

    Args:
        ranks: (n,) average rank of each query.
        labels: label of each query, such as its scene or its title.
        per_group: maximum number of queries per group.

    Returns:
        Indices of the queries of each group, in the order of `GROUPS`.
    """
    per_group = min(per_group, max(1, len(ranks) // len(GROUPS)))
    orders = {
        "best": np.argsort(ranks, kind="stable"),
        "worst": np.argsort(-ranks, kind="stable"),
        "typical": np.argsort(np.abs(ranks - np.median(ranks)), kind="stable"),
    }
    taken: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for name, order in orders.items():
        free = [int(number) for number in order if int(number) not in taken]
        chosen[name] = _varied(free, labels, per_group)
        taken.update(chosen[name])
    return {name: chosen[name] for name, _, _ in GROUPS}


def build_gallery(evaluation: Evaluation, direction: str, exhibition: Exhibition) -> list[Group]:
    """The groups of queries of one direction, with their exhibits."""
    keys = evaluation.ranking.embeddings.keys
    ranks = evaluation.ranking.bounds[direction].ranks
    labels = [
        str(entry.get("label") or entry.get("title") or key)
        for entry, key in zip(evaluation.metadata, keys, strict=True)
    ]
    groups = []
    chosen = choose_queries(ranks, labels, QUERIES_PER_GROUP)
    for name, heading, explanation in GROUPS:
        numbers = chosen[name]
        found = evaluation.protocol.nearest(evaluation.ranking, direction, numbers, NUM_MATCHES)
        queries = [
            _query(evaluation, exhibition, number, float(ranks[number]), [int(match) for match in matches])
            for number, matches in zip(numbers, found, strict=True)
        ]
        groups.append(Group(name, heading, explanation, queries))
    return groups


def format_rank(rank: float) -> str:
    """Formats a rank without needless decimals: "3" (also of 3.02), or "51.5" for ties."""
    return f"{rank:,.1f}".removesuffix(".0")


def _query(evaluation: Evaluation, exhibition: Exhibition, number: int, rank: float, matches: list[int]) -> Query:
    keys, metadata = evaluation.ranking.embeddings.keys, evaluation.metadata

    def exhibit(of: int) -> Exhibit:
        return exhibition.exhibit(keys[of], metadata[of])

    missed = None if number in matches else Match(format_rank(rank), True, exhibit(number))
    return Query(
        exhibition.exhibit(keys[number], metadata[number], QUERY_PICTURE_PIXELS),
        format_rank(rank),
        [Match(str(place), match == number, exhibit(match)) for place, match in enumerate(matches, start=1)],
        missed,
    )


def _varied(free: list[int], labels: list[str], count: int) -> list[int]:
    """The first `count` of `free` with distinct labels, filled up with the first others."""
    seen: set[str] = set()
    first_of_label: list[int] = []
    for number in free:
        if labels[number] not in seen and len(first_of_label) < count:
            seen.add(labels[number])
            first_of_label.append(number)
    others = [number for number in free if number not in first_of_label]
    chosen = set((first_of_label + others)[:count])
    return [number for number in free if number in chosen]
