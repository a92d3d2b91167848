"""`manifest.json`: what a shard set contains, how it was built, and which pairs were rejected."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.atomic_files import read_json, write_json
from shards.errors import UserError
from shards.raster_settings import RasterSettings
from shards.schema import FORMAT_VERSION, Rejection, SpectrogramSettings

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class ShardEntry:
    """One tar of a shard set.

    Attributes:
        name: file name, `<split>-<index:06d>.tar`.
        split: "train", "val" or "test".
        num_samples: samples in the tar.
        bytes: size of the tar.
        sha256: its checksum, in hexadecimal.
    """

    name: str
    split: str
    num_samples: int
    bytes: int
    sha256: str


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
        repeated_images: pairs that share their image, see `shards.building.repeated_images`; empty if not known.
    """

    source: str
    build: dict[str, Any]
    spectrogram: SpectrogramSettings
    statistics: dict[str, float]
    shards: tuple[ShardEntry, ...]
    rejected: tuple[Rejection, ...]
    rasters: RasterSettings = field(default_factory=RasterSettings)
    warnings: tuple[str, ...] = ()
    repeated_images: dict[str, Any] = field(default_factory=dict)

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
            "build": self.build,
            "spectrogram": self.spectrogram.to_dict(),
            "rasters": self.rasters.to_dict(),
            "statistics": self.statistics,
            **self.totals,
            "warnings": list(self.warnings),
            "repeated_images": self.repeated_images,
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
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a readable manifest ({error!r}); build the shards again") from error
        return cls.from_json(text, where=str(path))

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Manifest:
        """Parses a manifest; `where` is the file it was read from, for error messages.

        Raises:
            UserError: the text is not a manifest, or one of another format version.
        """
        try:
            record = json.loads(text)
            version = record["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{where} is not a readable manifest ({error!r}); build the shards again") from error
        if version != FORMAT_VERSION:
            raise UserError(
                f"{where}: format_version is {version!r}, this Earshot reads {FORMAT_VERSION}; "
                "build the shards again with this version, or use the Earshot that wrote them"
            )
        try:
            return cls(
                source=record["source"],
                build=record["build"],
                spectrogram=SpectrogramSettings.from_dict(record["spectrogram"]),
                statistics=record["statistics"],
                shards=tuple(ShardEntry(**shard) for shard in record["shards"]),
                rejected=tuple(Rejection(**rejection) for rejection in record["rejected"]),
                rasters=_rasters_of(record),
                # Sets of earlier versions have neither.
                warnings=tuple(record.get("warnings", ())),
                repeated_images=record.get("repeated_images", {}),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where} is not a complete manifest ({error!r}); build the shards again") from error


def _rasters_of(record: dict[str, Any]) -> RasterSettings:
    if "rasters" in record:
        return RasterSettings.from_dict(record["rasters"])
    red, green, blue = record["build"].get("bands", RasterSettings.bands)
    return RasterSettings(bands=(red, green, blue))


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
        f"{name} is {json.dumps(record.get(name))}, but the entries add up to {json.dumps(total)}"
        for name, total in manifest.totals.items()
        if record.get(name) != total
    ]
