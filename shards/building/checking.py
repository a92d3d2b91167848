"""`build --check`: reads the whole table and the headers of all files, and lists every problem at once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from shards.building.assigning import assign_splits, split_record
from shards.building.describing import describe_split, small_splits
from shards.building.opening import list_corpus, open_source
from shards.building.planning import BuildOptions, usable_cpus
from shards.building.swapped_places import swapped_places
from shards.errors import UserError
from shards.progress import ProgressLine
from shards.schema import SPLITS, Pair, Rejection
from shards.sources.source import Listing, Source

REMEDIES = {
    "missing image": "put the files into images/ under the row's key, or name their column with --column image=NAME",
    "missing sound": "put the files into audio/ under the row's key, or name their column with --column sound=NAME",
    "ambiguous image": "write folder and suffix into the column of images, or rename one of the files",
    "ambiguous sound": "write folder and suffix into the column of sounds, or rename one of the files",
    "duplicate key": "give each row a key of its own, or name another column with --column key=NAME",
    "invalid key": "fill in the keys",
    "malformed row": "put quotes around fields that contain the separator; of GeoJSON, keep the points",
    "missing coordinates": "fill in longitude and latitude, or give GeoTIFF images, which have their own",
    "unreadable coordinates": "write degrees, such as 7.25, 7,25 or 7°15'0\" E",
    "coordinates out of range": "write degrees (WGS84), longitude and latitude in their own columns; convert "
    "coordinates of a map grid",
    "image too small": "give larger images",
    "undecodable image": "export the images again, as JPEG, PNG or GeoTIFF",
    "undecodable sound": "export the sounds again, as WAV, FLAC, OGG or MP3",
}
"""What to do about each reason of a rejection."""

MAX_LISTED = 10
"""Lines of one kind of problem that are listed; the others are counted."""

OTHER_REMEDY = "repair the files, or remove the rows"


@dataclass(frozen=True)
class CheckReport:
    """What a build would find.

    Attributes:
        options: those of the build, with the split that is used.
        num_rows: rows of the table.
        unit: what places in the table are counted in.
        problems: (place in the table, problem), in the order of the table; several of a row if need be.
        num_rejected: rows with a problem.
        splits: pairs of each split; empty if the pairs can't be split.
        split_words: how they are split, or why they can't be.
        remedies: what to do about all problems of a reason at once, in place of a line for each.
        warnings: what looks wrong and rejects nothing, a sentence each.
    """

    options: BuildOptions
    num_rows: int
    unit: str
    problems: tuple[tuple[int, Rejection], ...]
    num_rejected: int
    splits: dict[str, int]
    split_words: str
    remedies: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether a build would succeed, as far as headers tell."""
        return self.num_rejected <= self.options.max_rejected * self.num_rows and bool(self.splits.get("train"))


def check_corpus(options: BuildOptions) -> CheckReport:
    """Reads the table and the headers of all files; writes nothing to --out.

    Raises:
        UserError: an option is not valid, or the table can't be read or understood.
    """
    source = open_source(options)
    listing, options = list_corpus(source, options)
    listing = source.locate(listing)
    # A corpus without a table states its rejections alone.
    problems = list(listing.problems) or [(0, rejection) for rejection in listing.rejected]
    kept: list[Pair] = []
    for pair, found in _check_files(source, listing, options):
        problems += [(pair.place, rejection) for rejection in found]
        if not found:
            kept.append(pair)
    problems.sort(key=lambda problem: problem[0])
    usable = dataclasses.replace(listing, pairs=tuple(kept))
    try:
        splits = Counter(assign_splits(source, usable, options, options.workers or usable_cpus()))
        words = describe_split(split_record(usable, options))
    except UserError as error:
        splits, words = Counter(), str(error)
    counts = {split: splits[split] for split in SPLITS} if splits else {}
    num_rejected = listing.num_rows - len(kept)
    return CheckReport(
        *(options, listing.num_rows, listing.unit, tuple(problems), num_rejected, counts, words),
        listing.remedies,
        tuple(swapped_places(kept, listing.unit)),
    )


def _check_files(source: Source, listing: Listing, options: BuildOptions) -> list[tuple[Pair, list[Rejection]]]:
    """What the headers of each pair's files show to be wrong."""
    checked = []
    with (
        ThreadPoolExecutor(options.workers or usable_cpus()) as pool,
        ProgressLine("reading headers", len(listing.pairs)) as progress,
    ):
        for pair, found in zip(listing.pairs, pool.map(source.problems_of, listing.pairs), strict=True):
            checked.append((pair, [Rejection(pair.key, problem.reason, problem.detail) for problem in found]))
            progress.advance()
    return checked


def print_check(report: CheckReport) -> None:
    """Prints every problem, grouped by reason, with how to fix it; then the splits, and whether a build would pass."""
    rows = f"{report.num_rows:,} {report.unit}s" if report.unit != "line" else f"{report.num_rows:,} rows"
    print(f"{rows}: {report.num_rows - report.num_rejected:,} usable pairs, {report.num_rejected:,} with problems")
    by_reason: dict[str, list[tuple[int, Rejection]]] = {}
    for place, rejection in report.problems:
        by_reason.setdefault(rejection.reason, []).append((place, rejection))
    for reason, found in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        remedy = report.remedies.get(reason)
        print(f"\n{reason}, {len(found):,}: {remedy or REMEDIES.get(reason, OTHER_REMEDY)}")
        for place, rejection in [] if remedy else found[:MAX_LISTED]:
            where = f"{report.unit} {place}"
            detail = rejection.detail.removeprefix(f"{where}: ").removeprefix(f"{where} ")
            print(f"  {where}: {detail}" if place else f"  {rejection.key}: {detail}")
        if not remedy and len(found) > MAX_LISTED:
            print(f"  and {len(found) - MAX_LISTED:,} more")
    if report.problems:
        print()
    for words in report.warnings:
        print(f"warning: {words}")
    counts = ", ".join(f"{split} {count:,}" for split, count in report.splits.items())
    print(f"splits {report.split_words}: {counts}" if counts else f"no splits: {report.split_words}")
    for words in small_splits(report.splits) if counts else ():
        print(f"warning: {words}")
    print(_verdict(report))


def _verdict(report: CheckReport) -> str:
    share = report.num_rejected / max(1, report.num_rows)
    rejected = f"{report.num_rejected:,} of {report.num_rows:,} pairs ({share:.1%}) would be rejected"
    limit = f"--max-rejected {report.options.max_rejected:g}"
    if report.num_rejected > report.options.max_rejected * report.num_rows:
        return f"the build would fail: {rejected}, above {limit}; fix them, or allow a larger share"
    if not report.splits.get("train"):
        return "the build would fail: no pairs are left for training"
    return (
        f"the build would pass: {rejected}, within {limit}; headers were read, damage further on is found by the build"
    )
