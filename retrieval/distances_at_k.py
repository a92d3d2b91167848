"""D@k: kilometres from the true place to the nearest place of the top k."""

from __future__ import annotations

from typing import Any

import numpy as np

from pretrain.ranking import Metrics
from pretrain.ranking_scores import DIRECTIONS, KM_AT
from retrieval.place_distances import expected_minimum, great_circle_km
from retrieval.protocols.protocol import Protocol, Ranking
from shards.progress import ProgressLine
from shards.schema import place_of

QUERIES_AT_ONCE = 256


def distances_at_k(protocol: Protocol, ranking: Ranking, metadata: list[dict[str, Any]]) -> dict[str, Metrics]:
    """D@k of both directions and of chance, as the code of SoundingEarth's authors has it (Heidler et al., 2021).

    Args:
        protocol: how items are ordered, and which queries count.
        ranking: n ranked pairs.
        metadata: of each, with longitude and latitude.

    Returns:
        "image_to_sound", "sound_to_image" and "chance" → `km_at_k` of each k that does not exceed the gallery, the mean
        over the queries; no k if a pair has no place.
    """
    n = len(metadata)
    ks = [k for k in KM_AT if k <= n]
    found = [place_of(entry) for entry in metadata]
    known = [place for place in found if place is not None]
    if not ks or len(known) < n:
        return {}
    places = np.array(known)
    num_queries = protocol.num_queries(n)
    totals = {part: dict.fromkeys(ks, 0.0) for part in (*DIRECTIONS, "chance")}
    with ProgressLine("distances to places", num_queries) as progress:
        for start in range(0, num_queries, QUERIES_AT_ONCE):
            queries = list(range(start, min(num_queries, start + QUERIES_AT_ONCE)))
            km = great_circle_km(places[queries], places)
            for row in np.sort(km, axis=1):
                for k in ks:
                    totals["chance"][k] += expected_minimum(row, k)
            for direction in DIRECTIONS:
                distances = protocol.distances(ranking, direction, queries)
                for k in ks:
                    totals[direction][k] += float(protocol.nearest_km(distances, km, k).sum())
            progress.advance(len(queries))
    return {part: {KM_AT[k].key: total / num_queries for k, total in of_k.items()} for part, of_k in totals.items()}
