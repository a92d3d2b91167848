"""Every figure of a set's statistics, as written to `statistics.json` and shown on the page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.geography.countries import NOWHERE, SHORE_KM, Countries
from shards.manifest import Manifest
from shards.reporting.tally import CorpusTally, NameCounts

STATISTICS_VERSION = 1
BIN_SECONDS, SHORT_BIN_SECONDS = 30, 3
"""Width of a bin of lengths: half a minute, so that the last bin is what exceeds ten minutes; and 3 s, up to a minute,
for sets whose 99th percentile is at most a minute, which would all be one bin."""
NUM_BINS = 20

MOST_LISTED = 1000
"""Names that are listed by their count, the most frequent first; the others are counted together."""

PLACE_DECIMALS = 5
"""Number of decimals of a degree (1.1 m) to which places must agree to count as one."""

PLACES_AT_ONCE = 1_000_000
"""Places that are rounded, or whose countries are looked up, at once, which bounds the memory."""


def statistics_of(manifest: Manifest, tally: CorpusTally, countries: Path | None) -> dict[str, Any]:
    """The statistics of a set: plain JSON values.

    Args:
        manifest: of the set.
        tally: of the metadata of all its pairs.
        countries: file of boundaries; None leaves the countries undetermined.

    Raises:
        UserError: the file of boundaries can't be read.
    """
    return {
        "statistics_version": STATISTICS_VERSION,
        "source": manifest.source,
        "pairs": tally.num_pairs,
        "splits": manifest.splits,
        "rejected": dict(Counter(rejection.reason for rejection in manifest.rejected).most_common()),
        "sound": sound_statistics(tally),
        "places": place_statistics(tally),
        "countries": None if countries is None else country_statistics(tally.places, countries),
        "creators": name_statistics(tally.creators),
        "licences": name_statistics(tally.licences),
        "years": {
            "pairs_by_year": {str(year): count for year, count in sorted(tally.years.items())},
            "pairs_without": tally.without_year,
        },
        "labels": name_statistics(tally.labels),
    }


def sound_statistics(tally: CorpusTally) -> dict[str, Any]:
    """Lengths of the recordings: hours, median, 99th percentile (linear between neighbours), histogram.

    A bin holds the lengths above its lower end, up to and including its upper end; the first also holds 0.
    """
    seconds = tally.seconds
    known = len(seconds)
    median, high = np.percentile(seconds, [50, 99]).tolist() if known else (None, None)
    width = SHORT_BIN_SECONDS if high is not None and high <= NUM_BINS * SHORT_BIN_SECONDS else BIN_SECONDS
    edges = width * np.arange(1, NUM_BINS + 1)
    counts = np.bincount(np.searchsorted(edges, seconds, side="left"), minlength=len(edges) + 1)
    uppers: list[int | None] = [*edges.tolist(), None]
    return {
        "pairs_with_length": known,
        "pairs_without_length": tally.without_length,
        "hours": float(seconds.sum()) / 3600 if known else None,
        "median_seconds": median,
        "percentile_99_seconds": high,
        "shortest_seconds": float(seconds.min()) if known else None,
        "longest_seconds": float(seconds.max()) if known else None,
        "histogram": [
            {"above_seconds": number * width, "to_seconds": upper, "pairs": int(counts[number])}
            for number, upper in enumerate(uppers)
        ],
    }


def place_statistics(tally: CorpusTally) -> dict[str, Any]:
    """How many pairs have coordinates, and how many different places these are."""
    places = tally.places
    return {
        "pairs_with_place": len(places),
        "pairs_without_place": tally.without_place,
        "different_places": _count_different(places),
        "decimals_compared": PLACE_DECIMALS,
    }


def country_statistics(places: NDArray[np.float64], path: Path) -> dict[str, Any]:
    """Pairs by country.

    Args:
        places: (n, 2) longitude and latitude of the pairs that have coordinates.
        path: file of boundaries.

    Returns:
        The count of countries, pairs of each, and how they were determined: pairs inside a boundary, pairs outside
        all that were counted for a shore within `SHORE_KM`, and pairs of no country.
    """
    countries = Countries(path)
    counts = np.zeros(len(countries.names), np.int64)
    near = nowhere = 0
    for start in range(0, len(places), PLACES_AT_ONCE):
        part = places[start : start + PLACES_AT_ONCE]
        located = countries.locate(np.ascontiguousarray(part[:, 0]), np.ascontiguousarray(part[:, 1]))
        counts += np.bincount(located.country[located.country != NOWHERE], minlength=len(counts))
        near += int(located.is_near.sum())
        nowhere += int((located.country == NOWHERE).sum())
    found = Counter({name: int(count) for name, count in zip(countries.names, counts, strict=True) if count})
    return {
        "boundaries": path.name,
        "boundaries_countries": len(countries.names),
        "countries": len(found),
        "pairs_inside": int(counts.sum()) - near,
        "pairs_near_shore": near,
        "shore_km": SHORE_KM,
        "pairs_without": nowhere,
        "pairs_by_country": dict(found.most_common()),
    }


def name_statistics(names: NameCounts) -> dict[str, Any]:
    """How many different names there are, and the pairs of the most frequent."""
    ordered = sorted(names.counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "different": len(names.counts),
        "is_at_least": names.others > 0,
        "pairs_without": names.without,
        "pairs_by_name": dict(ordered[:MOST_LISTED]),
        "pairs_of_others": names.others + sum(count for _, count in ordered[MOST_LISTED:]),
    }


def _count_different(places: NDArray[np.float64]) -> int:
    """Different places; each becomes one integer, so that ten million take 80 MB and are sorted in place."""
    if len(places) == 0:
        return 0
    scale = 10**PLACE_DECIMALS
    joined = np.empty(len(places), np.int64)
    for start in range(0, len(places), PLACES_AT_ONCE):
        steps = np.round(places[start : start + PLACES_AT_ONCE] * scale).astype(np.int64)
        steps[:, 0] %= 360 * scale  # 180° east and west are one meridian
        joined[start : start + PLACES_AT_ONCE] = steps[:, 0] * (181 * scale) + steps[:, 1] + 90 * scale
    joined.sort()
    return 1 + int(np.count_nonzero(joined[1:] != joined[:-1]))
