"""Tallies the metadata of a set's pairs one by one, in a few bytes a pair, for the statistics of ten million."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.records import as_number, shortened
from shards.schema import place_of
from shards.untrusted_text import without_controls, without_surrogates

MOST_LETTERS = 80
"""Of a creator, licence or label; the rest of a longer one is cut."""

MOST_NAMES = 200_000
"""Different creators (licences, labels) that are told apart; pairs with a further one are counted as others."""

MOST_SECONDS = 10.0**8
"""Three years; a longer recording is a mistake in the metadata, and counts as of unknown length."""

NO_LABEL = -1

_YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")
_FULL_DATE = re.compile(r"\s*(1[89]\d\d|20\d\d)\s*(?:[-/.]\s*\d|$)")


class NameCounts:
    """How many pairs have each name of a kind, such as a creator.

    Attributes:
        counts: pairs by name.
        without: pairs that have none.
        others: pairs with a name that came after the first `MOST_NAMES`.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.without = 0
        self.others = 0

    def add(self, value: Any) -> str | None:
        """Counts a value of a pair's metadata, and returns the name as it is counted; None if it has none."""
        name = " ".join(without_surrogates(without_controls(value)).split()) if isinstance(value, str) else ""
        if not name:
            self.without += 1
            return None
        name = shortened(name, MOST_LETTERS)
        if name not in self.counts and len(self.counts) >= MOST_NAMES:
            self.others += 1
            return None
        self.counts[name] += 1
        return name


class CorpusTally:
    """What the statistics of a set need of its pairs' metadata; takes about 30 bytes a pair.

    Attributes:
        num_pairs: pairs that were added.
        creators, licences, labels: how many pairs have each.
        years: pairs by the year of the recording; those whose year is unknown are in `without_year`.
        without_length: pairs whose metadata state no length.
        without_place: pairs without coordinates.
    """

    def __init__(self) -> None:
        self.num_pairs = 0
        self.creators, self.licences, self.labels = NameCounts(), NameCounts(), NameCounts()
        self.years: Counter[int] = Counter()
        self.without_year = self.without_length = self.without_place = 0
        self._seconds = array("d")
        self._places = array("d")
        self._label_of_place = array("i")
        self._label_numbers: dict[str, int] = {}

    def add(self, metadata: dict[str, Any]) -> None:
        """Adds a pair by its metadata, as a sample's JSON holds them."""
        self.num_pairs += 1
        self.creators.add(metadata.get("creator"))
        self.licences.add(metadata.get("licence"))
        label = self.labels.add(metadata.get("label"))
        year = year_of(metadata.get("date_recorded"))
        if year is None:
            self.without_year += 1
        else:
            self.years[year] += 1
        seconds = as_number(metadata.get("seconds"))
        if seconds is None or not 0 <= seconds <= MOST_SECONDS:
            self.without_length += 1
        else:
            self._seconds.append(seconds)
        place = place_of(metadata)
        if place is None:
            self.without_place += 1
            return
        self._places.extend(place)
        number = NO_LABEL if label is None else self._label_numbers.setdefault(label, len(self._label_numbers))
        self._label_of_place.append(number)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(n,) length of each recording in seconds, of the pairs whose metadata state it."""
        return np.frombuffer(self._seconds, np.float64) if self._seconds else np.empty(0)

    @property
    def places(self) -> NDArray[np.float64]:
        """(n, 2) longitude and latitude of each pair that has coordinates, in degrees."""
        return np.frombuffer(self._places, np.float64).reshape(-1, 2) if self._places else np.empty((0, 2))

    def places_of(self, label: str) -> NDArray[np.float64]:
        """(n, 2) places of the pairs with a label."""
        numbers = np.frombuffer(self._label_of_place, np.int32) if self._label_of_place else np.empty(0, np.int32)
        return self.places[numbers == self._label_numbers.get(label, len(self._label_numbers))]


def year_of(value: Any) -> int | None:
    """The year of a date as people write it: 2012-05-03, 03.05.2012, "May 2012", 2012; None if it is not clear.

    A date that begins with its year is read so; elsewhere the text must hold exactly one number from 1800 to 2099 that
    has four digits.
    """
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    start = _FULL_DATE.match(text[:MOST_LETTERS])
    if start:
        return int(start[1])
    found = set(_YEAR.findall(text[:MOST_LETTERS]))
    return int(found.pop()) if len(found) == 1 else None
