"""The interface of where sounds are collected from: a list of entries, and what each of them is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shards.collecting.ledger import Ledger
from shards.collecting.options import SoundLimits
from shards.collecting.remote_files import RemoteFile
from shards.errors import RejectedPair


@dataclass(frozen=True)
class Sound:
    """A sound to fetch.

    Attributes:
        file: where it is.
        suffix: of the file that is written, such as ".mp3".
        row: its row of the metadata, without the columns that the download adds.
    """

    file: RemoteFile
    suffix: str
    row: Mapping[str, str]


class SoundArchive(ABC):
    """Where sounds are collected from.

    Attributes:
        name: the verb of `collect`.
        requests_per_sound: about how many requests one takes.
    """

    name: ClassVar[str]
    requests_per_sound: ClassVar[int]

    @abstractmethod
    def list_entries(self, ledger: Ledger) -> None:
        """Adds the entries to the ledger, page by page; what an earlier run has listed is not asked for again.

        Raises:
            UserError: the list can't be read, or is another one than that of the ledger.
        """

    @abstractmethod
    def stated_bytes(self, record: Mapping[str, Any]) -> int | None:
        """The bytes of an entry as the list states them, at most; None if it does not."""

    @abstractmethod
    def describe(self, identifier: str, record: Mapping[str, Any]) -> Sound:
        """What an entry is.

        Raises:
            RejectedPair: it can't be used.
        """


def check_place(place: tuple[float, float] | None, limits: SoundLimits, identifier: str) -> tuple[float, float]:
    """The place of a sound, which must be within the box if there is one.

    Raises:
        RejectedPair: there is no place, or it is outside.
    """
    if place is None:
        raise RejectedPair("no coordinates", f"{identifier} states no longitude and latitude within range")
    longitude, latitude = place
    if limits.bbox is not None and not is_within(limits.bbox, longitude, latitude):
        raise RejectedPair("outside the box", f"{identifier} lies at {longitude:g}, {latitude:g}")
    return place


def is_within(box: tuple[float, float, float, float], longitude: float, latitude: float) -> bool:
    """Whether a place is within a box of west, south, east and north, borders included; west > east crosses 180°."""
    west, south, east, north = box
    is_between = west <= longitude <= east if west <= east else longitude >= west or longitude <= east
    return south <= latitude <= north and is_between


def check_length(seconds: float | None, limits: SoundLimits, identifier: str) -> None:
    """Checks a stated length.

    Raises:
        RejectedPair: it is too short.
    """
    if seconds is not None and seconds < limits.min_seconds:
        raise RejectedPair("too short", f"{identifier}: {seconds:g} s, --min-seconds {limits.min_seconds:g}")
