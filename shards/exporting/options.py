"""Options of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from shards.command_line.verbs import one_of, positional
from shards.exporting import FORMATS


@dataclass(frozen=True)
class ExportOptions:
    """Writes a shard set as Parquet files or as a folder with a table, for other software.

    An interrupted export resumes when rerun. A set holds spectrograms and 10-second listening clips, not the whole
    recordings, so neither does an export.
    """

    shards: Annotated[Path, positional()]
    """Folder of the shard set."""

    out: Path
    """Folder of the export."""

    format: Annotated[str, one_of(FORMATS)] = "parquet"
    """parquet: files that the library datasets loads, with a card; folder: images/, spectrograms/, previews/ and
    metadata.csv."""

    split: tuple[Literal["train", "val", "test"], ...] = ()
    """Splits to export, by default all."""

    def check(self) -> None:
        """Rejects an unknown format.

        Raises:
            UserError: the format is none of `FORMATS`.
        """
        FORMATS.check(self.format)
