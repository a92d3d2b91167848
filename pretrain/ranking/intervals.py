"""95 % intervals of retrieval figures, by bootstrap over queries, or over recordings where these are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.records import as_number

LEVEL = 0.95
RESAMPLES = 2000
FEWEST_QUERIES = 30
"""With fewer, a figure says little, and neither does its interval."""
_VALUES_AT_ONCE = 1 << 22

Interval = tuple[float, float]


@dataclass(frozen=True)
class Units:
    """What is drawn with replacement: queries that may be taken for independent of each other.

    Attributes:
        name: "query" or "recording".
        of_queries: (q,) number of each query's unit, 0 to m − 1; each has a query.
    """

    name: str
    of_queries: NDArray[np.intp]

    @classmethod
    def of(cls, recordings: Sequence[str | None]) -> Units:
        """Recordings where each query names its own and some name the same, else the queries themselves.

        Args:
            recordings: (q,) name of the recording that each query's sound was cut from; None or "" if not known.
        """
        if all(recordings) and len(set(recordings)) < len(recordings):
            numbers = {name: number for number, name in enumerate(dict.fromkeys(recordings))}
            return cls("recording", np.array([numbers[name] for name in recordings], dtype=np.intp))
        return cls("query", np.arange(len(recordings), dtype=np.intp))

    @classmethod
    def of_pairs(cls, metadata: Sequence[Mapping[str, Any] | None]) -> Units:
        """Those of pairs by their metadata, which may come from a third party; None where it can't be read."""
        return cls.of([_recording(entry or {}) for entry in metadata])

    @property
    def count(self) -> int:
        """m, the number of units."""
        return int(self.of_queries.max()) + 1


@dataclass(frozen=True)
class Figure:
    """A figure of all queries.

    Attributes:
        values: (q,) of each query.
        kind: "share", the mean of values in [0, 1]; "mean", of ranks or distances; or "median".
    """

    values: NDArray[np.float64]
    kind: Literal["share", "mean", "median"] = "share"


def _recording(metadata: Mapping[str, Any]) -> str | None:
    name = metadata.get("recording")
    is_text = isinstance(name, str) or as_number(name) is not None
    return " ".join(str(name).split()) if is_text else None


def bootstrap_intervals(
    figures: Mapping[str, Figure], units: Units, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Percentile intervals of figures (Efron and Tibshirani 1993, chapter 13).

    m of the m units are drawn with replacement, with all of their queries, and the figures recomputed; the interval
    of a figure holds the middle 95 % of its values. A share that is 0 for every query, or 1, has no spread to draw
    from: the other end of its interval is that of the exact binomial interval of m trials (Clopper and Pearson 1934).

    Args:
        figures: by name.
        units: what is drawn.
        resamples: how often.
        seed: of the draws.

    Returns:
        Name → lower and upper bound.
    """
    medians = {name: np.argsort(figure.values) for name, figure in figures.items() if figure.kind == "median"}
    means = [name for name in figures if name not in medians]
    columns = np.array([figures[name].values for name in means]).reshape(len(means), len(units.of_queries)).T
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in figures}
    for weights in _draws(units, resamples, seed):
        for name, values in zip(means, (weights @ columns).T, strict=True):
            drawn[name].append(values / weights.sum(axis=1))
        for name, order in medians.items():
            drawn[name].append(_weighted_medians(figures[name].values[order], weights[:, order]))
    return {
        name: _of_trials(figure.values[0], units.count)
        if figure.kind == "share" and (figure.values == np.round(figure.values[0])).all()
        else _middle(np.concatenate(drawn[name]))
        for name, figure in figures.items()
    }


def _draws(units: Units, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each query is drawn, (b, q) for b resamples at a time."""
    rng = np.random.default_rng(seed)
    m, q = units.count, len(units.of_queries)
    at_once = max(1, _VALUES_AT_ONCE // max(m, q))
    for start in range(0, resamples, at_once):
        b = min(at_once, resamples - start)
        drawn = rng.integers(m, size=(b, m)) + m * np.arange(b)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=b * m).reshape(b, m)
        yield counts[:, units.of_queries].astype(np.float64)


def _weighted_medians(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of ascending values (q,), each as often as its weight in (b, q) says: (b,)."""
    upto = weights.cumsum(axis=1)
    totals = upto[:, -1:]
    # Of w values counted from 1, the middle ones are those at ⌊(w + 1) / 2⌋ and ⌊w / 2⌋ + 1.
    lower, upper = ((upto < middle).sum(axis=1) for middle in ((totals + 1) // 2, totals // 2 + 1))
    return np.asarray((values[lower] + values[upper]) / 2)


def _middle(drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _of_trials(share: float, num_trials: int) -> Interval:
    """The exact binomial interval if no trial succeeded (share 0) or all did (share 1)."""
    reach = 1 - ((1 - LEVEL) / 2) ** (1 / num_trials)
    return (0.0, reach) if share == 0 else (1 - reach, 1.0)
