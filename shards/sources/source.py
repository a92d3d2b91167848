"""What a corpus must offer so that shards can be built from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from shards.schema import Pair, Rejection, Sample, SpectrogramSettings


@dataclass(frozen=True)
class SourceOptions:
    """What a user may say about how a corpus is read.

    Attributes:
        root: folder of the corpus.
        limit: rows of its table to take from the start, None for all.
        max_seconds: seconds of sound that a longer recording is cut down to, in evenly spread parts.
        jpeg_quality: quality of the stored images, 1 to 100.
        bands: bands of a multi-band image that become red, green and blue, counted from 1.
        previews: whether listening clips are made.
        places: places of the demo corpus.
        seed: seed of the demo corpus.
    """

    root: Path
    limit: int | None = None
    max_seconds: float = 600.0
    jpeg_quality: int = 90
    bands: tuple[int, int, int] = (1, 2, 3)
    previews: bool = True
    places: int = 1200
    seed: int = 0


@dataclass(frozen=True)
class Listing:
    """What a corpus holds, as far as its table and its file names tell.

    Attributes:
        pairs: those whose files are to be opened, in the order of the table.
        rejected: the other rows, in the order of the table.
        columns: names of the table's columns.
    """

    pairs: tuple[Pair, ...]
    rejected: tuple[Rejection, ...]
    columns: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """Rows of the table that were listed."""
        return len(self.pairs) + len(self.rejected)


class Source(ABC):
    """A corpus of image/sound pairs. It is sent to other processes, so it holds nothing but its options.

    Attributes:
        settings: how its spectrograms are computed and what their bytes mean.
        has_recordings: whether it brings sound to listen to, not spectrograms alone.
        default_root: its folder where the user names none, None where one must be named.
    """

    settings: ClassVar[SpectrogramSettings]
    has_recordings: ClassVar[bool]
    default_root: ClassVar[Path | None] = None

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def prepare(self, num_workers: int) -> None:  # noqa: B027 - most corpora have nothing to prepare
        """Makes ready what `list_pairs` reads, where the corpus makes its own files.

        Raises:
            UserError: the folder can't be used for that.
        """

    @abstractmethod
    def list_pairs(self) -> Listing:
        """Lists the corpus from its table and file names, without opening a pair's files.

        Raises:
            UserError: no such folder, no readable table, or no rows in it.
        """

    def locate(self, listing: Listing) -> Listing:
        """The listing with a place for every pair, for splits that need them before the files are read."""
        return listing

    @abstractmethod
    def read(self, pair: Pair) -> Sample:
        """Opens a pair's files and makes the sample.

        Raises:
            RejectedPair: they can't be used.
        """

    def build_options(self) -> dict[str, Any]:
        """The options that its samples depend on, by name, for the manifest."""
        options: dict[str, Any] = {"limit": self.options.limit, "jpeg_quality": self.options.jpeg_quality}
        options["bands"] = list(self.options.bands)
        if self.has_recordings:
            options |= {"max_seconds": self.options.max_seconds, "previews": self.options.previews}
        return options
