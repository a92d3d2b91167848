"""The options and the plan of a build: which pair goes into which shard, and everything that affects the result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from shards.building.assigning import assign_splits, split_column, split_record
from shards.building.splitting import hash_share
from shards.building.writing import tar_name
from shards.command_line.verbs import called, hidden, one_of, repeatable
from shards.decoding.channels import check_channels
from shards.errors import UserError
from shards.front_ends import DEFAULT_FRONT_END, FRONT_ENDS
from shards.schema import SPLITS, Pair
from shards.sources import SOURCES
from shards.sources.source import Listing, Source


def usable_cpus() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class BuildOptions:
    """Packs a corpus of image/sound pairs into shards.

    An interrupted build resumes when rerun; its output is byte-identical.
    """

    source: Annotated[str, one_of(SOURCES)]
    """The corpus: soundingearth (as released), recordings (a table, images and sounds), parquet (as on the hub),
    webdataset (tars of others; see adopt) or demo (generated)."""

    out: Path
    """Folder of the shard set."""

    root: Path | None = None
    """Folder of the corpus. For demo: where to generate it, by default data/demo-world."""

    table: Path | None = None
    """File of the table, by default metadata.csv in --root: CSV with any usual separator, XLSX, GeoJSON, Parquet or
    GPX waypoints."""

    column: Annotated[tuple[tuple[str, ...], ...], repeatable()] = ()
    """role=NAME: the column of a role, such as key="Site ID" image=Tile sound="Recording file" longitude=Lon; roles
    that are not given are guessed from usual names, and said. NAME alone: the column for --split-by column; no value
    of it is in two splits."""

    check_only: Annotated[bool, called("check")] = False
    """Read the whole table and the headers of all files, list every problem at once with how to fix it, and the
    splits; write nothing to --out."""

    workers: int | None = None
    """Processes that read and pack, by default one per usable core; the result does not depend on it."""

    split_by: Literal["key", "cell", "random", "column", "image", "file", "source"] | None = None
    """key: the last digit of the key, as published (7 val, 2 and 5 test); random: drawn by key; cell, column, image:
    drawn so that a location cell, a value of a column, or equal images are in one split. All but key give 10 % val
    and 20 % test. file: as --split-file says. source: the corpus's own splits, as the names of its tars or Parquet
    files say. By default source if it has any, else key if all keys are numbers, else random."""

    split_file: Path | None = None
    """Table with the columns key and split (train, val or test), as retrieval/run.py split writes it for a protocol;
    rows whose key it lacks are left out."""

    cell_km: float = 10.0
    """Side of a location cell in kilometres, for --split-by cell; no cell is in two splits."""

    split_seed: int = 0
    """Seed of all splits but those by key or file, and of the order of the samples."""

    max_rejected: float = 0.05
    """Share of rejected pairs above which the build fails, 0 to 1."""

    max_seconds: float = 600.0
    """Maximum seconds of sound per recording; from longer ones, evenly spread parts are used."""

    channels: str = "auto"
    """Channels of a recording that become one. auto: the mean of up to three (of two with opposite phase the louder),
    of four and more the first, as ambisonic recordings need; mean; or the number of a channel, counted from 1."""

    jpeg_quality: int = 90
    """Quality of the stored images, 1 to 100."""

    samples_per_shard: int = 256
    """Pairs planned per shard; rejected pairs make it smaller."""

    spectrogram: Annotated[str, one_of(FRONT_ENDS)] = DEFAULT_FRONT_END
    """Front end of the spectrograms: earshot-16k, or that of a pre-trained sound encoder (mn04 and its kin:
    audioset-32k)."""

    follow_links: bool = False
    """Use files also where symbolic links lead out of --root."""

    limit: int | None = None
    """Use only the first rows of the table, for a trial."""

    licence: str = ""
    """Licence of the corpus as a whole, kept in the manifest and named by the cards of weights; by default that of the
    card (README.md) beside Parquet files or tars."""

    keep_unpacked: bool = False
    """Keep what is unpacked from tars or Parquet files, in a folder beside --out, when the set is finished."""

    bands: tuple[int, int, int] = (1, 2, 3)
    """Bands of rasters that become red, green and blue, counted from 1."""

    scale_range: tuple[float, float] | None = None
    """LOW HIGH: raster values that become black and white, of 8-bit rasters too if HIGH is at most 255. By default
    these are kept as they are, and others are scaled as --scale-by says."""

    scale_by: Literal["corpus", "chip"] = "corpus"
    """The range without --scale-range: 2nd and 98th percentile over a sample of the corpus, so that dark places stay
    darker than bright ones; or of each image alone."""

    previews: bool = True
    """Write 10-second listening clips for reports and the explorer."""

    places: int = 1200
    """Number of places in the demo corpus."""

    seed: int = 0
    """Seed of the demo corpus."""

    part: str | None = None
    """K/N: pack the K-th of N parts, while other processes with the same options and --out pack theirs; the last to
    finish writes the manifest. array: take K/N from a Slurm array. all: pack everything, even if several processes
    were launched. finish: pack nothing; write the manifest or report the missing parts. By default a process launched
    as one of several (accelerate launch, torchrun) packs its part, and a single process packs all."""

    tars: Annotated[tuple[str, ...], hidden()] = ()
    """Given to adopt, where they are positional."""

    @property
    def unpacked(self) -> Path:
        """The folder that a corpus inside of other files is unpacked to."""
        return self.out.with_name(f"{self.out.name}.unpacked")


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write: its file name, its split and its candidate pairs in order."""

    name: str
    split: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class BuildPlan:
    """All shards to write.

    Attributes:
        source: name of the corpus.
        record: every option that affects the result and a checksum of the listing, as plain JSON values.
        shards: those of train, val and test in turn; a split without pairs has none.
    """

    source: str
    record: dict[str, Any]
    shards: tuple[ShardPlan, ...]

    @property
    def num_pairs(self) -> int:
        """The number of candidate pairs."""
        return sum(len(shard.pairs) for shard in self.shards)


def check_options(options: BuildOptions) -> None:
    """Rejects invalid values before anything is read.

    Raises:
        UserError: the message names the option, its value and the rule.
    """
    rules = {
        "--workers": (options.workers, options.workers is None or options.workers >= 1, ">= 1"),
        "--cell-km": (options.cell_km, math.isfinite(options.cell_km) and options.cell_km > 0, "> 0"),
        "--max-rejected": (options.max_rejected, 0 <= options.max_rejected <= 1, "within [0, 1]"),
        "--max-seconds": (options.max_seconds, math.isfinite(options.max_seconds) and options.max_seconds >= 1, ">= 1"),
        "--jpeg-quality": (options.jpeg_quality, 1 <= options.jpeg_quality <= 100, "within [1, 100]"),
        "--samples-per-shard": (options.samples_per_shard, options.samples_per_shard >= 1, ">= 1"),
        "--limit": (options.limit, options.limit is None or options.limit >= 1, ">= 1"),
        "--bands": (options.bands, min(options.bands) >= 1, ">= 1, counted from 1"),
        "--scale-range": (options.scale_range, _is_scale_range(options.scale_range), "LOW HIGH with LOW < HIGH"),
        "--places": (options.places, options.places >= 1, ">= 1"),
    }
    for name, (value, holds, rule) in rules.items():
        if not holds:
            raise UserError(f"{name} must be {rule}, got {value}")
    FRONT_ENDS.check(options.spectrogram)
    try:
        check_channels(options.channels)
    except ValueError as error:
        raise UserError(f"--{error}") from error
    if options.scale_range is not None and options.scale_by == "chip":
        raise UserError("--scale-range gives one range for all images, --scale-by chip one for each; omit one of them")
    if options.split_by == "file" and options.split_file is None:
        raise UserError("--split-by file needs --split-file with a table of keys and splits")
    if options.split_file is not None and options.split_by not in (None, "file"):
        raise UserError(f"--split-file has no effect with --split-by {options.split_by}; omit one of them")
    column = split_column(options)
    if options.split_by == "column" and not column:
        raise UserError("--split-by column needs --column with the name of a column of the table")
    if options.split_by != "column" and column:
        raise UserError(
            f"--column {column} has no effect with --split-by {options.split_by or 'key'}; give --split-by column, or "
            f"--column role={column} to say what the column means"
        )


def _is_scale_range(values: tuple[float, float] | None) -> bool:
    return values is None or (all(map(math.isfinite, values)) and values[0] < values[1])


def idle_options(options: BuildOptions, source_class: type[Source]) -> list[str]:
    """A warning for each option that was given and has no effect."""
    defaults = {field.name: field.default for field in dataclasses.fields(BuildOptions)}
    without_recordings = () if source_class.has_recordings else ("max_seconds", "previews", "channels")
    split_by = options.split_by or ("key" if options.split_file is None else "file")
    reasons = {
        **({} if split_by == "cell" else {"cell_km": f"--split-by {split_by}; give --split-by cell"}),
        **dict.fromkeys(() if options.source == "demo" else ("places", "seed"), f"--source {options.source}"),
        **{"table" if source_class.is_packed else "keep_unpacked": f"--source {options.source}"},
        **dict.fromkeys(without_recordings, f"--source {options.source}, which has no recordings"),
    }
    return [
        f"--{'no-' if value is False else ''}{name.replace('_', '-')}{'' if isinstance(value, bool) else f' {value}'} "
        f"has no effect with {reason}"
        for name, reason in reasons.items()
        if (value := getattr(options, name)) != defaults[name]
    ]


def make_plan(source: Source, listing: Listing, options: BuildOptions) -> BuildPlan:
    """Assigns the listed pairs to splits and shards.

    Raises:
        UserError: the pairs can't be split as requested, or none is left for training.
    """
    splits = assign_splits(source, listing, options, options.workers or usable_cpus())
    counts = Counter(splits)
    if not counts["train"]:
        raise UserError(
            f"no training pairs: --split-by {options.split_by} puts {counts['val']} pairs into val and "
            f"{counts['test']} into test; choose another --split-by, --split-seed or a smaller --cell-km"
        )
    shards: list[ShardPlan] = []
    for split in SPLITS:
        members = [pair for pair, other in zip(listing.pairs, splits, strict=True) if other == split]
        members.sort(key=lambda pair: (hash_share(f"{options.split_seed}:order:{pair.key}"), pair.key))
        for number, start in enumerate(range(0, len(members), options.samples_per_shard)):
            shards.append(
                ShardPlan(tar_name(split, number), split, tuple(members[start : start + options.samples_per_shard]))
            )
    record = {
        **source.build_options(),
        "samples_per_shard": options.samples_per_shard,
        **split_record(listing, options),
        "num_listed": listing.num_rows,
        "listing_sha256": _listing_checksum(listing, source.files_root),
    }
    return BuildPlan(options.source, json.loads(json.dumps(record)), tuple(shards))


def describe_differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Describes the differences between the records of two plans."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name) and name != "listing_sha256"]
    words = [f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in names]
    return ", ".join(words) or "the corpus has changed since (its table or the files that it lists)"


def _listing_checksum(listing: Listing, root: Path) -> str:
    """SHA-256 of the table's rows, the names and sizes of the files, and the rejections."""
    checksum = hashlib.sha256()
    for pair in listing.pairs:
        files = [[os.path.relpath(path, root), _size(path)] for path in (pair.image, pair.sound)]
        row = [pair.key, files, pair.longitude, pair.latitude, pair.columns]
        checksum.update(json.dumps(row, sort_keys=True).encode("ascii"))
    for rejection in listing.rejected:
        checksum.update(json.dumps(dataclasses.asdict(rejection), sort_keys=True).encode("ascii"))
    return checksum.hexdigest()


def _size(path: Path) -> int:
    """Size of a file in bytes, -1 if unknown (its pair is then rejected when it is read)."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
