"""The options of `evaluate`, `split`, `mteb` and `embed`; they are checked before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pretrain.model_files import check_model_folder
from retrieval.named_files import check_paths
from retrieval.protocols import PROTOCOLS
from shards.command_line.verbs import one_of
from shards.errors import UserError
from shards.manifest import check_shard_folder
from shards.whole_numbers import check_whole

EMBEDDING_SUFFIXES = (".npz", ".csv", ".parquet")
"""Of the files that `embed` writes; `retrieval.embedding_files` has a writer of each."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Embeds a split, ranks it in both directions, and writes embeddings.npz, metrics.json and report.html."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    shards: Path
    """The shard set."""
    out: Path
    """Folder to write to."""
    split: Literal["train", "val", "test"] = "test"
    """The split to rank."""
    protocol: Annotated[str, one_of(PROTOCOLS)] = "standard"
    """How pairs are ranked: standard; khdlr, the metric published by SoundingEarth's authors; one of later work
    (geoclap, spectrum4geo, psm, psm-corrected, geosound, mteb; build the shards with --split-file); or your own."""
    crops: int | None = None
    """Number of evenly spaced sound crops whose embeddings are averaged (by default 10; protocol khdlr draws one at
    random)."""
    seed: int = 0
    """Seed of the random sound crops of protocol khdlr."""
    batch_size: int = 16
    """Pairs embedded at once."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Number format of the networks: fp32 gives the same figures on every machine; bf16 is faster on hardware that has
    it; auto takes bf16 there."""
    device: str = "auto"
    """cpu, cuda, or auto (the GPU if there is one)."""
    force: bool = False
    """Accept spectrograms computed with settings other than those the model learned from; their scale is converted."""

    def check(self) -> None:
        """Checks rules, choices and folders.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        self.check_values()
        check_model_folder(self.weights)
        check_shard_folder(self.shards)

    def check_values(self) -> None:
        """Checks rules and choices alone, for weights that do not exist yet.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        if self.crops is not None:
            check_at_least(1, crops=self.crops)
        check_at_least(1, batch_size=self.batch_size)
        PROTOCOLS.check(self.protocol)


@dataclass(frozen=True)
class SplitOptions:
    """Writes the split of a protocol as a file of keys, for `shards/run.py build --split-file`."""

    protocol: Annotated[str, one_of(PROTOCOLS)]
    """geoclap, spectrum4geo, psm, psm-corrected, geosound, khdlr, or your own."""
    metadata: Path
    """Table of the corpus, such as metadata.csv, with all rows in the published order."""
    out: Path
    """CSV file to write, with the columns key and split."""
    without: Path | None = None
    """Table with a column key or long_key: rows to leave out, such as recordings that can't be decoded."""

    def check(self) -> None:
        """Checks choices and files.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        PROTOCOLS.check(self.protocol)
        if self.out.suffix != ".csv":
            raise UserError(f"out must be a file that ends in .csv, got {self.out}")
        for name, path in (("metadata", self.metadata), ("without", self.without)):
            if path is not None and not path.is_file():
                raise UserError(f"{name} {path}: no such file")


@dataclass(frozen=True)
class MtebOptions:
    """Runs a model on tasks of the package mteb, by default on SoundingEarth; needs pip install 'earshot[mteb]'."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    out: Path
    """Folder of the results, as mteb writes them."""
    tasks: tuple[str, ...] = ("SoundingEarthA2IRetrieval", "SoundingEarthI2ARetrieval")
    """Retrieval tasks between images and sounds; tasks with text or metadata in a query are refused."""
    crops: int = 10
    """Number of evenly spaced sound crops whose embeddings are averaged."""
    batch_size: int = 16
    """Items embedded at once."""
    device: str = "auto"
    """cpu, cuda, or auto (the GPU if there is one)."""

    def check(self) -> None:
        """Checks rules and folders.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        check_at_least(1, crops=self.crops, batch_size=self.batch_size)
        if not self.tasks:
            raise UserError("tasks must name at least one task")
        check_model_folder(self.weights)


@dataclass(frozen=True)
class EmbedOptions:
    """Embeds images or sounds, and writes embeddings and file names to an npz, a CSV or a Parquet file."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    out: Path
    """The file to write: .npz, .csv or .parquet; beside the last two, OUT.json names the files that were left out."""
    images: tuple[Path, ...] = ()
    """Images (JPEG, PNG, WebP, TIFF, JPEG 2000): folders with their subfolders, files, patterns in quotes ('a/*.tif'),
    and lists (.txt, a path a line, relative to the list)."""
    sounds: tuple[Path, ...] = ()
    """Recordings (MP3, OGG, FLAC, WAV ...), given in the same ways."""
    bands: tuple[int, int, int] | None = None
    """Raster bands to read as red, green and blue, instead of those that the model learned from."""
    crops: int = 10
    """Number of evenly spaced sound crops whose embeddings are averaged."""
    force: bool = False
    """Embed sounds even if the settings of the spectrograms that the model learned from are not published: Earshot's
    spectrograms are used, with their scale converted."""
    max_seconds: float = 600.0
    """Maximum seconds of sound per recording; from longer ones, evenly spread parts are used."""
    batch_size: int = 16
    """Files embedded at once."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Number format of the networks: fp32 gives the same figures on every machine; bf16 is faster on hardware that has
    it; auto takes bf16 there."""
    device: str = "auto"
    """cpu, cuda, or auto (the GPU if there is one)."""

    @property
    def kind(self) -> Literal["images", "sounds"]:
        """The kind of files to embed."""
        return "images" if self.images else "sounds"

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was given of that kind."""
        return self.images or self.sounds

    def check(self) -> None:
        """Checks rules and paths.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        if bool(self.images) == bool(self.sounds):
            raise UserError("give either --images PATH or --sounds PATH")
        check_at_least(1, crops=self.crops, batch_size=self.batch_size)
        if not self.max_seconds > 0:
            raise UserError(f"max_seconds must be > 0, got {self.max_seconds}")
        if self.bands is not None:
            if self.sounds:
                raise UserError("--bands has no effect on --sounds; omit it")
            check_at_least(1, bands=min(self.bands))
        if self.force and self.images:
            raise UserError("--force has no effect on --images; omit it")
        if self.out.suffix.lower() not in EMBEDDING_SUFFIXES:
            raise UserError(f"out must be a file that ends in {', '.join(EMBEDDING_SUFFIXES)}, got {self.out}")
        check_model_folder(self.weights)
        check_paths(self.paths, self.kind)


def check_at_least(least: int, **values: int) -> None:
    """Checks options with a common lower bound.

    Raises:
        TypeError: Python code has given something else than a whole number.
        UserError: a value is below it; the message names the first such option.
    """
    check_whole(**values)
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name} must be >= {least}, got {value}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Checks a value that Python code, not the command line, has chosen.

    Raises:
        UserError: it is none of the choices.
    """
    if value not in choices:
        raise UserError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
