"""`manifest.json`: what a shard set contains, how it was built, and which pairs were rejected."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes that of Python 3.12 or this one

from shards.atomic_files import write_json
from shards.checksums import FileChecksum
from shards.errors import UserError
from shards.raster_settings import RasterSettings
from shards.records import (
    MOST_BYTES,
    Count,
    Finite,
    Sha256,
    json_of,
    read_bytes_within,
    read_json,
    record_as,
    shortened,
    shown,
)
from shards.schema import FORMAT_VERSION, READABLE_VERSIONS, Rejection, SpectrogramSettings, SplitName

MANIFEST_NAME = "manifest.json"
REMEDY = "copy the shard set again, or build it again"
STATISTICS = ("spectrogram_mean", "spectrogram_std", "seconds_of_sound")
"""Those that every manifest has."""

ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+-[0-9]{6}\.tar$")]
"""It becomes a path and an argument of commands."""


@dataclass(frozen=True)
class ShardEntry:
    """One tar of a shard set.

    Attributes:
        name: file name, `<split>-<index:06d>.tar`.
        split: "train", "val" or "test".
        num_samples: samples in the tar.
        bytes: size of the tar.
        sha256: its checksum, in hexadecimal.
        index: checksum of its index; None if that is a JSON file, as in format version 1.
        previews: checksum of its tar of listening clips; None if it has none.
    """

    name: ShardName
    split: SplitName
    num_samples: Count
    bytes: Count
    sha256: Sha256
    index: FileChecksum | None = None
    previews: FileChecksum | None = None


class RepeatedImages(TypedDict):
    """Pairs that share their image, see `shards.building.repeated_images.count_repeated`."""

    pairs: Count
    across_splits: Count
    keys: dict[str, list[str]]
    in_training: NotRequired[dict[str, list[str]]]
    """Manifests of earlier versions lack it."""


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        source: the corpus, a key of `SOURCES`.
        build: every build option that affects the result.
        spectrogram: how the spectrograms were computed and what their byte values mean.
        statistics: "spectrogram_mean" and "spectrogram_std" over the training split, in stored bytes [0, 255];
            "seconds_of_sound"; counts of "silent", "repeated_to_length" and "shortened" recordings;
            where there are recordings, counts and shares by their names in `shards.building.packing.Tally`.
        shards: the tars, in order.
        rejected: the rejected pairs and the reasons.
        rasters: how rasters became RGB, and which part of an image is stored; manifests of earlier versions name the
            bands alone, and scaled each image by itself.
        warnings: what limits the use of the set, such as a small test split, a sentence each.
        repeated_images: pairs that share their image; None if not known.
        licence: licence of the corpus as a whole, "" if it is not known; each sample's JSON may state its own.
    """

    source: str
    build: dict[str, Any]
    spectrogram: SpectrogramSettings
    statistics: dict[str, Count | Finite]
    shards: tuple[ShardEntry, ...]
    rejected: tuple[Rejection, ...]
    rasters: RasterSettings = field(default_factory=RasterSettings)
    warnings: tuple[str, ...] = ()
    repeated_images: RepeatedImages | None = None
    licence: str = ""

    def of_split(self, split: str) -> tuple[ShardEntry, ...]:
        """The tars of one split, in order."""
        return tuple(shard for shard in self.shards if shard.split == split)

    def num_samples(self, split: str) -> int:
        """The number of samples in one split."""
        return sum(shard.num_samples for shard in self.of_split(split))

    @property
    def splits(self) -> dict[str, int]:
        """The number of samples in each split that has a tar, in the order of the tars."""
        return {split: self.num_samples(split) for split in dict.fromkeys(shard.split for shard in self.shards)}

    @property
    def totals(self) -> dict[str, Any]:
        """The totals that `manifest.json` states in addition to its entries."""
        return {
            "splits": {split: {"num_samples": count} for split, count in self.splits.items()},
            "num_rejected": len(self.rejected),
        }

    def save(self, folder: Path) -> None:
        """Writes `folder/manifest.json` atomically."""
        record = {
            "format_version": FORMAT_VERSION,
            "source": self.source,
            # Left out where it is not known, so that manifests are the same as before.
            **({"licence": self.licence} if self.licence else {}),
            "build": self.build,
            "spectrogram": self.spectrogram.to_dict(),
            "rasters": self.rasters.to_dict(),
            "statistics": self.statistics,
            **self.totals,
            "warnings": list(self.warnings),
            "repeated_images": self.repeated_images or {},
            "shards": [dataclasses.asdict(shard) for shard in self.shards],
            "rejected": [dataclasses.asdict(rejection) for rejection in self.rejected],
        }
        write_json(folder / MANIFEST_NAME, record)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Reads `folder/manifest.json`.

        Raises:
            UserError: the folder or manifest is missing, unreadable, or of another format version.
        """
        check_shard_folder(folder)
        path = folder / MANIFEST_NAME
        return cls.from_json(read_bytes_within(path, MOST_BYTES, REMEDY), where=str(path))

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> Manifest:
        """Parses a manifest; `where` is the file it was read from, for error messages.

        Raises:
            UserError: the text is not a manifest, or one of another format version.
        """
        record = record_as(dict[str, Any], json_of(text, where, REMEDY), where, REMEDY)
        version = record.get("format_version")
        if version not in READABLE_VERSIONS:
            raise UserError(
                f"{where}: format_version is {shown(version)}, this Earshot reads "
                f"{' and '.join(map(str, READABLE_VERSIONS))}; "
                "build the shards again with this version, or use the Earshot that wrote them"
            )
        # Sets of earlier versions have neither.
        record["rasters"] = record.get("rasters") or _bands_of(record)
        record["repeated_images"] = record.get("repeated_images") or None
        manifest = record_as(cls, record, where, REMEDY)
        for name in STATISTICS:
            if name not in manifest.statistics:
                raise UserError(f"{where}: statistics.{name} is missing; {REMEDY}")
        return manifest


def _bands_of(record: dict[str, Any]) -> dict[str, Any]:
    build = record.get("build")
    return {"bands": build["bands"]} if isinstance(build, dict) and "bands" in build else {}


def check_shard_folder(folder: Path) -> None:
    """Checks that the folder holds a finished shard set, without reading the manifest.

    Raises:
        UserError: the folder or its manifest does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"no shards at {folder}: no such folder; build them with 'python shards/run.py build'")
    if not (folder / MANIFEST_NAME).is_file():
        raise UserError(
            f"{folder} is not a shard set: it has no {MANIFEST_NAME}; give the --out folder of a finished "
            "'python shards/run.py build' (an interrupted build resumes when rerun)"
        )


def wrong_totals(folder: Path) -> list[str]:
    """Describes each total in `folder/manifest.json` that disagrees with its entries.

    Raises:
        UserError: as `Manifest.load`.
    """
    manifest = Manifest.load(folder)
    record = read_json(folder / MANIFEST_NAME)
    return [
        f"{name} is {shortened(json.dumps(record.get(name)), 200)}, but the entries add up to {json.dumps(total)}"
        for name, total in manifest.totals.items()
        if record.get(name) != total
    ]
