"""A corpus inside tars or Parquet files: unpacked beside the shard set first, and then read like any recordings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from shards.errors import RejectedPair, UserError
from shards.schema import SPLITS
from shards.sources.metadata_table import list_table, read_table
from shards.sources.recordings import RecordingsSource
from shards.sources.source import Listing, SourceOptions
from shards.unpacking.folder import Row, Unpacked
from shards.unpacking.licences import licence_beside
from shards.unpacking.samples import ForeignSample, PackedFile
from shards.unpacking.table import DETAIL, IMAGE, KEY, PLACE, REASON, SOUND, SPLIT, Fields, roles_in, write_table


class UnpackedSource(RecordingsSource):
    """Pairs inside of other files.

    They are unpacked rather than read in place: decoders of sounds and rasters need files; a compressed tar and a
    download have no random access, and a Parquet file decodes a whole row group for one row.
    """

    is_packed = True

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self._notices: tuple[str, ...] = ()

    @property
    @override
    def files_root(self) -> Path:
        """The folder of the unpacked files."""
        if self.options.unpacked is None:
            raise ValueError("a packed corpus needs SourceOptions.unpacked")
        return self.options.unpacked

    @property
    @override
    def licence(self) -> str:
        """The licence of the set: as the user says, else as a README.md beside its files says."""
        return self.options.licence or licence_beside(self.folders())

    @abstractmethod
    def files(self) -> Sequence[PackedFile]:
        """The files of the set, in order.

        Raises:
            UserError: there are none, or they can't be listed.
        """

    @abstractmethod
    def folders(self) -> Sequence[Path]:
        """Local folders in which a README.md would be the card of the set."""

    @abstractmethod
    def fields(self) -> Fields:
        """What its fields mean."""

    @abstractmethod
    def samples(self, file: PackedFile) -> Iterator[ForeignSample]:
        """Reads the samples of a file.

        Raises:
            UserError: it can't be read.
        """

    def plan(self) -> dict[str, Any]:
        """What decides, beside files and limit, what is unpacked; plain JSON values."""
        return {name: self.options.columns[name] for name in ("image", "sound") if name in self.options.columns}

    def describe_members(self) -> str:
        """What was found in the files, for messages."""
        return ""

    @override
    def prepare(self, num_workers: int) -> None:
        """Unpacks the set, unless that was done before, and writes its table.

        Raises:
            UserError: the set can't be read or has no pairs, or the disk is too small.
        """
        files, unpacked = self.files(), Unpacked(self.files_root, is_kept=self.options.keep_unpacked)
        rows = unpacked.unpack(files, self.plan(), self.samples, self._judge, self.options.limit)
        if not any(rows):
            raise UserError(f"{self.fields().where} has no samples{self.describe_members()}; give a set of pairs")
        self._notices = tuple(write_table(unpacked.folder, files, rows, self.fields()))

    @override
    def list_pairs(self) -> Listing:
        """Lists the table of the unpacked set; samples without an image or a sound are rejected."""
        given = {"key": KEY, "image": IMAGE, "sound": SOUND} | {role: role for role in PLACE}
        table = read_table(self.files_root, self.options.limit, columns=given)
        listing = list_table(table, self._finder(IMAGE, "image"), self._finder(SOUND, "sound"))
        splits = {pair.key: pair.columns.get(SPLIT, "") for pair in listing.pairs}
        return dataclasses.replace(
            listing,
            notices=self._notices,
            splits=splits if splits and set(splits.values()) <= set(SPLITS) else None,
            columns=tuple(name for name in listing.columns if name not in (REASON, DETAIL)),
        )

    @override
    def build_options(self) -> dict[str, Any]:
        """The options of recordings, and a checksum of the names and sizes of the set's files."""
        names = [[file.shown, file.bytes] for file in self.files()]
        return {**super().build_options(), "files_sha256": hashlib.sha256(json.dumps(names).encode()).hexdigest()}

    @override
    def finish(self) -> None:
        """Removes what was unpacked, unless it is to be kept."""
        if not self.options.keep_unpacked:
            Unpacked(self.files_root).remove()

    def _finder(self, column: str, kind: str) -> Any:
        def find(key: str, row: dict[str, str]) -> Path:
            if row.get(REASON):
                raise RejectedPair(row[REASON], row.get(DETAIL, ""))
            if not row[column]:
                raise RejectedPair(f"missing {kind}", f"sample {key} has no {kind}")
            return self.files_root / row[column]

        return find

    def _judge(self, file: PackedFile, rows: Sequence[Row]) -> None:
        """Refuses a set of images or sounds alone, or one whose fields don't say where its samples are."""
        for kind, other, count in (
            ("image", "sounds", sum(bool(row.image) for row in rows)),
            ("sound", "images", sum(bool(row.sound) for row in rows)),
        ):
            faults = [row for row in rows if row.reason]
            if not count and len(faults) < len(rows):
                raise UserError(
                    f"none of the {len(rows):,} samples of {file.shown} has {'an' if kind == 'image' else 'a'} {kind}"
                    f"{self.describe_members()}; Earshot learns from pairs of both, not from {other} alone"
                )
            if not count:
                raise UserError(f"{file.shown}: no sample can be used: {faults[0].reason}: {faults[0].detail}")
        roles_in(rows, self.fields())
