"""A foreign WebDataset set: tars of images, sounds and metadata under other names, without an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from shards.unpacking.samples import ForeignSample, PackedFile
from shards.unpacking.source import UnpackedSource
from shards.unpacking.table import Fields
from shards.unpacking.tar_files import find_tars, local_folders, other_tables
from shards.unpacking.tar_samples import Members, read_samples


class WebDatasetSource(UnpackedSource):
    """The tars that the user names, else those of --root."""

    @cached_property
    def _words(self) -> tuple[str, ...]:
        return self.options.tars or (str(self.options.root),)

    @cached_property
    def _members(self) -> Members:
        image, sound = (self.options.columns.get(kind, "").lower().split(";") for kind in ("image", "sound"))
        return Members(tuple(filter(None, image)), tuple(filter(None, sound)))

    @cached_property
    def _files(self) -> Sequence[PackedFile]:
        return find_tars(self._words)

    @override
    def files(self) -> Sequence[PackedFile]:
        """The tars, in the order in which they were named; those of a folder sorted."""
        return self._files

    @override
    def folders(self) -> Sequence[Path]:
        """The folders that were named, or that hold the tars."""
        return local_folders(self._words)

    @override
    def fields(self) -> Fields:
        """Fields of JSON members, by dotted name, and text members, by the names of the members."""
        return Fields(self._where, self.options.columns, finds_key=False)

    @override
    def samples(self, file: PackedFile) -> Iterator[ForeignSample]:
        """Reads a tar by webdataset's pipeline."""
        return read_samples(file, self._members)

    @override
    def describe_members(self) -> str:
        """The members that were found."""
        return self._members.describe()

    @override
    def prepare(self, num_workers: int) -> None:
        """Unpacks the tars; says which members were not used, and which files beside the tars."""
        super().prepare(num_workers)
        members, words = self._members, list(self._notices)
        if members.nameless:
            words.append(f"{members.nameless:,} members without a suffix belong to no sample and are left out")
        if members.doubled:
            words.append(
                f"{members.doubled:,} members have the name of an earlier one in their sample and are left out"
            )
        if tables := other_tables(self._words):
            words.append(
                f"{len(tables):,} Parquet files beside the tars, such as {tables[0]}, are not read: the tars hold the "
                "samples"
            )
        self._notices = tuple(words)

    @property
    def _where(self) -> str:
        return self._words[0] if len(self._words) == 1 else f"{self._words[0]} and {len(self._words) - 1} more"

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: the options alone."""
        return {"options": self.options, "_notices": ()}
