"""`--dry-run` of `build`, `adopt` and `info`: lists the corpus, plans shards, estimates their size; writes nothing."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from pathlib import Path

from shards.building.adopting import AdoptOptions, as_build
from shards.building.checking import check_corpus, print_check
from shards.building.commands import InfoOptions
from shards.building.corpus_scale import measure_scale
from shards.building.describing import describe_split
from shards.building.estimating import check_room, forecast, probed
from shards.building.folder import check_folder, is_finished, refuse_another_plan
from shards.building.opening import list_corpus, open_source
from shards.building.packing import probe_pairs
from shards.building.parts import parse_part
from shards.building.planning import BuildOptions, BuildPlan, make_plan, usable_cpus
from shards.command_line.dry_runs import ENDING, check_can_be_written, print_plan, size_of
from shards.errors import UserError
from shards.manifest import Manifest
from shards.schema import PREVIEWS_FOLDER, SPLITS, TRAIN_SPLIT
from shards.sources.source import Listing, Source
from shards.streaming.reading import ShardSet
from shards.unpacking.source import UnpackedSource


def dry_run_build(options: BuildOptions) -> None:
    """Prints what a build would do: pairs and shards of each split, time, and bytes.

    A corpus that a build would first generate or unpack is not listed, since that would write it.

    Raises:
        UserError: an option is not valid, the corpus can't be listed, too many of its rows are rejected already, or
            the disk is too small.
    """
    source = open_source(options)
    is_listed = type(source).prepare is Source.prepare
    if options.check_only and is_listed:
        print_check(check_corpus(options))
        return
    part = parse_part(options.part)
    check_folder(options.out)
    check_can_be_written(options.out)
    workers = options.workers or usable_cpus()
    ending = ENDING
    lines = {"source": f"{options.source}, {source.files_root}"}
    if not is_listed:
        what = "unpacked" if source.is_packed else "generated"
        lines["files"] = _packed_files(source)
        lines["pairs"] = f"known once the corpus is {what} in {source.files_root}, unless it is there already"
        ending = "dry run: the options are checked, the corpus is not listed; nothing was written"
    else:
        listing, options = list_corpus(source, options)
        _check_rejected(listing, options)
        plan = make_plan(source, listing, options)
        if is_finished(options.out):
            manifest = Manifest.load(options.out)
            refuse_another_plan(options.out, manifest.source, manifest.build, plan, "was built")
        pairs: Counter[str] = Counter()
        shards: Counter[str] = Counter()
        for shard in plan.shards:
            pairs[shard.split] += len(shard.pairs)
            shards[shard.split] += 1
        lines |= {
            "rows": f"{listing.num_rows:,}, of which {len(listing.rejected):,} are rejected from the table alone",
            "pairs": ", ".join(f"{pairs[split]:,} {split} in {shards[split]} shards" for split in SPLITS),
            "splits": describe_split(plan.record),
            "estimate": _estimate(source, plan, options.out, workers),
        }
    lines |= {
        "workers": f"{workers}{f', {part} of the build' if part else ''}",
        "writes": f"{options.out} (shards, indexes, manifest.json"
        f"{f', {PREVIEWS_FOLDER}/' if source.has_recordings and options.previews else ''})",
        "there": "a finished set, which is only checked and repaired" if is_finished(options.out) else "",
    }
    print_plan(lines, ending=ending)


def dry_run_adopt(options: AdoptOptions) -> None:
    """Prints what `adopt` would do; tars are listed, not opened, and addresses are not asked.

    Raises:
        UserError: as `adopt`, as far as it does not depend on what is in the tars.
    """
    dry_run_build(as_build(options))


def dry_run_info(options: InfoOptions) -> None:
    """Prints what `info` would read, and where `--report` would write its page.

    Raises:
        UserError: there is no set, a tar of it is missing, or the page can't be written.
    """
    shard_set = ShardSet.open(options.shards)
    splits = shard_set.manifest.splits
    for split in splits:
        shard_set.check_files(split)
    if options.report is not None:
        check_can_be_written(options.report, "report")
    print_plan(
        {
            "shards": f"{options.shards}, {', '.join(f'{count:,} {split}' for split, count in splits.items())} pairs",
            "reads": "the metadata of all pairs",
            "writes": "nothing" if options.report is None else f"{options.report}: a page, figures and statistics.json",
        }
    )


def _packed_files(source: Source) -> str:
    """The files that a packed corpus is in; "" for a generated one."""
    if not isinstance(source, UnpackedSource):
        return ""
    files = source.files()
    known = [file.bytes for file in files if file.bytes is not None]
    remote = len(files) - len(known)
    parts = [f"{len(known):,} here, {size_of(sum(known))}"] if known else []
    return ", ".join([*parts, *([f"{remote:,} at addresses, which are not asked"] if remote else [])])


def _check_rejected(listing: Listing, options: BuildOptions) -> None:
    if len(listing.rejected) > options.max_rejected * listing.num_rows:
        raise UserError(
            f"{len(listing.rejected):,} of {listing.num_rows:,} rows are rejected from the table alone, more than "
            f"--max-rejected {options.max_rejected:g} allows; list the reasons with --check"
        )


def _estimate(source: Source, plan: BuildPlan, out: Path, num_workers: int) -> str:
    """Time and bytes, from a few pairs that are read here."""
    rasters = source.options.rasters
    if rasters.scale_by == "corpus":
        training = [pair for shard in plan.shards if shard.split == TRAIN_SPLIT for pair in shard.pairs]
        rasters = measure_scale(rasters, training)
    source = copy.copy(source)
    source.options = dataclasses.replace(source.options, rasters=rasters)
    pairs = [pair for shard in plan.shards for pair in shard.pairs]
    probe = probe_pairs(source, probed(pairs))
    check_room(probe, len(pairs), out)
    return forecast(probe, len(pairs), num_workers, out)
