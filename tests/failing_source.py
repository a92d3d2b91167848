"""A corpus whose reading fails on request, in a module that worker processes can import."""

from __future__ import annotations

from typing import ClassVar

from shards.schema import Pair, Sample, SpectrogramSettings
from shards.sources.source import Listing, Source


class OutOfMemorySource(Source):
    """Every pair takes more memory than there is."""

    settings = SpectrogramSettings()
    has_recordings: ClassVar[bool] = True

    def list_pairs(self) -> Listing:
        return Listing((), (), ())

    def read(self, pair: Pair) -> Sample:
        raise MemoryError(f"{pair.image}: unable to allocate 9 TiB")
