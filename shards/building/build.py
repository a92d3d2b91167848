"""Builds a shard set from a corpus: list, plan, estimate, pack in parallel, and write the manifest last."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from shards.building.corpus_scale import settle_scale
from shards.building.describing import describe_sound
from shards.building.estimating import estimate
from shards.building.finishing import describe_missing, finish, read_records
from shards.building.folder import (
    at_work_in,
    check_begun,
    check_folder,
    clear_partial_files,
    damaged_shards,
    failures_marked,
    forget_failed_build,
    is_finished,
    keep_part_count,
    keep_plan,
    refuse_another_plan,
    remove_work_folder,
)
from shards.building.opening import built_before, list_corpus, open_source
from shards.building.packing import ShardRecord
from shards.building.packing_pool import PackingPool, cannot_write
from shards.building.parts import FINISH, Part, parse_part
from shards.building.planning import BuildOptions, BuildPlan, ShardPlan, make_plan, usable_cpus
from shards.building.rejected_list import REJECTED_NAME, check_listed, check_rejected_so_far
from shards.building.repeated_images import describe_repeated
from shards.errors import UserError
from shards.loudness import note
from shards.manifest import MANIFEST_NAME, Manifest
from shards.progress import ProgressLine
from shards.raster_settings import RasterSettings
from shards.schema import PREVIEWS_FOLDER
from shards.sources.source import Listing, Source

PROBE_ABOVE_PAIRS = 300


@dataclass(frozen=True)
class _Work:
    """The work of one process: the listed corpus, the plan, the options and the part to pack."""

    source: Source
    listing: Listing
    plan: BuildPlan
    options: BuildOptions
    part: Part | None
    num_workers: int

    @property
    def out(self) -> Path:
        return self.options.out

    def with_rasters(self, rasters: RasterSettings) -> _Work:
        """The same work with the raster scale of the corpus."""
        options = dataclasses.replace(self.source.options, rasters=rasters)
        source = copy.copy(self.source)
        source.options = options
        return dataclasses.replace(self, source=source)

    @property
    def prefix(self) -> str:
        """Prefix of the printed lines when several processes share the build."""
        return f"{self.part}: " if self.part else ""


def build(options: BuildOptions) -> Manifest | None:
    """Builds a shard set or a part of it, resumes an interrupted build, or repairs a finished one.

    The output depends only on the corpus and the options, not on the number of workers or parts or on interruptions.

    Returns:
        The manifest; None if this was one part and others are unfinished.

    Raises:
        UserError: an option, the corpus or the folder is not usable, too many pairs are rejected, or the disk is full.
    """
    source = open_source(options)
    part = parse_part(options.part)
    check_folder(options.out)
    if options.part == FINISH:
        check_begun(options.out)
    num_workers = options.workers or usable_cpus()
    if source.is_packed and (manifest := built_before(source, options)) is not None:
        remove_work_folder(options.out)
        source.finish()
        print(f"{options.out} is already built with these options from these files: nothing to do")
        return manifest
    listing, options = list_corpus(source, options)
    manifest = _build_listed(source, listing, options, part, num_workers)
    if manifest is not None:
        source.finish()
    return manifest


def _build_listed(
    source: Source, listing: Listing, options: BuildOptions, part: Part | None, num_workers: int
) -> Manifest | None:
    """As `build`, from the listing of the corpus."""
    try:
        if not is_finished(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
            check_listed(options.out, listing.num_rows, listing.rejected, options.max_rejected)
        work = _Work(source, listing, make_plan(source, listing, options), options, part, num_workers)
        if not is_finished(options.out):
            try:
                manifest = _finish_begun(work) if options.part == FINISH else _build_begun(work)
            except (UserError, FileNotFoundError):
                # Another process may have finished the set in the meantime and removed its work files.
                if not is_finished(options.out):
                    raise
                manifest = None
            if manifest is not None or not is_finished(options.out):
                return manifest
        return _finished_build(work)
    except OSError as error:
        raise cannot_write(options.out, error) from error


def _build_begun(work: _Work) -> Manifest | None:
    """Packs the shards of this process, and finishes the set if they were the last.

    Returns:
        The manifest; None if other parts are unfinished, or if the set was already finished.
    """
    out, part, shards = work.out, work.part, work.plan.shards
    with at_work_in(out, part), failures_marked(out):
        if part is None:
            forget_failed_build(work.plan, out)
        keep_plan(work.plan, out)
        keep_part_count(part, out)
        mine = part.of(shards) if part else list(shards)
        clear_partial_files(out, mine if part else None)
        records = read_records(out, shards)
        # Checked after reading the records: another part removes them once it has written the manifest.
        if is_finished(out):
            return None
        work = work.with_rasters(settle_scale(work.source.options.rasters, work.plan, out))
        _pack(work, mine, records)
        manifest = finish(work.source, work.listing, work.plan, out, work.options.max_rejected)
        if manifest is None and not is_finished(out):
            missing = describe_missing(work.plan, out) or "the last of the others is finishing"
            print(f"{part} is finished; {missing}; the last part to finish writes the manifest", flush=True)
            return None
    remove_work_folder(out)
    return manifest


def _finish_begun(work: _Work) -> Manifest | None:
    """Writes the manifest of a set whose parts are all packed; returns None if another process has just done so.

    Raises:
        UserError: shards are missing; the message names them and the parts they belong to.
    """
    out = work.out
    keep_plan(work.plan, out)
    work = work.with_rasters(settle_scale(work.source.options.rasters, work.plan, out))
    manifest = finish(work.source, work.listing, work.plan, out, work.options.max_rejected)
    if manifest is None and not is_finished(out):
        raise UserError(
            f"--out {out} can't be finished: {describe_missing(work.plan, out)}; rerun these parts, or give "
            "--part all to pack what is missing here; finished shards are kept"
        )
    remove_work_folder(out)
    return manifest


def _finished_build(work: _Work) -> Manifest:
    out, plan, options = work.out, work.plan, work.options
    manifest = Manifest.load(out)
    refuse_another_plan(out, manifest.source, manifest.build, plan, "was built")
    damaged = damaged_shards(out, manifest)
    if damaged:
        words = f"{out} was built, but {', '.join(f'{name} {words}' for name, words in damaged.items())}"
        if work.part or options.part == FINISH:
            raise UserError(f"{words}; give --part all: a single process repacks lost shards")
        print(words, flush=True)
        with at_work_in(out, None):
            clear_partial_files(out)
            # With the scale that the set was built with.
            again = work.with_rasters(manifest.rasters)
            manifest = _pack_again([shard for shard in plan.shards if shard.name in damaged], again, manifest)
    remove_work_folder(out)
    ending = f"{len(damaged)} of its shards repacked" if damaged else "nothing to do"
    print(f"{work.prefix}{out} is already built with these options from this corpus: {ending}")
    return manifest


def _pack_again(shards: list[ShardPlan], work: _Work, manifest: Manifest) -> Manifest:
    """Repacks lost shards of a finished set; returns its manifest, which of sets of format version 1 is a new one.

    Raises:
        UserError: a repacked shard differs from the manifest's checksum.
    """
    out, source = work.out, work.source
    entries = {entry.name: entry for entry in manifest.shards}
    with_previews = source.has_recordings and work.options.previews and (out / PREVIEWS_FOLDER).is_dir()
    num_pairs = sum(len(shard.pairs) for shard in shards)
    with (
        PackingPool(source, out, min(work.num_workers, len(shards)), with_previews=with_previews) as pool,
        ProgressLine("repacking lost shards", num_pairs) as progress,
    ):
        for record in pool.pack(shards, progress):
            stated, found = entries[record.entry.name], record.entry
            entries[found.name] = dataclasses.replace(
                stated, index=found.index, previews=found.previews or stated.previews
            )
            if (found.num_samples, found.bytes, found.sha256) != (stated.num_samples, stated.bytes, stated.sha256):
                (out / record.entry.name).unlink()
                raise UserError(
                    f"{record.entry.name} was repacked and differs from the shard in {out / MANIFEST_NAME}: files or "
                    "decoder versions have changed; copy it from an intact copy of the set, or remove the folder and "
                    "rebuild"
                )
    repaired = dataclasses.replace(manifest, shards=tuple(entries.values()))
    if repaired != manifest:
        repaired.save(out)
    return repaired


def _pack(work: _Work, shards: list[ShardPlan], records: dict[str, ShardRecord]) -> None:
    """Packs the shards without a record and adds their records to `records`."""
    out, listing = work.out, work.listing

    def judge() -> None:
        finished = (records[shard.name] for shard in work.plan.shards if shard.name in records)
        rejected = [*listing.rejected, *(rejection for record in finished for rejection in record.rejected)]
        check_rejected_so_far(out, listing.num_rows, rejected, work.options.max_rejected)

    to_do = [shard for shard in shards if shard.name not in records]
    num_pairs, num_to_do = (sum(len(shard.pairs) for shard in some) for some in (shards, to_do))
    if len(to_do) < len(shards):
        note(f"{work.prefix}resuming: {len(shards) - len(to_do)} of {len(shards)} shards are finished", sys.stdout)
    if not to_do:
        return
    judge()
    with_previews = work.source.has_recordings and work.options.previews
    num_workers = min(work.num_workers, len(to_do))
    with PackingPool(work.source, out, num_workers, with_previews=with_previews) as pool:
        if num_to_do > PROBE_ABOVE_PAIRS:
            of_all = sum(len(shard.pairs) for shard in work.plan.shards if shard.name not in records)
            estimate(pool, to_do, of_all, num_workers, out, prefix=work.prefix)
        with ProgressLine(
            f"{work.prefix}building shards", num_pairs, done=num_pairs - num_to_do, plain=work.part is not None
        ) as progress:
            for record in pool.pack(to_do, progress):
                records[record.entry.name] = record
                if len(records) < len(work.plan.shards):
                    judge()
    if pool.used_seconds:
        speed = pool.used_seconds / pool.busy_seconds
        hours = pool.used_seconds / 3600
        note(f"{work.prefix}read {hours:.2f} hours of sound at {speed:.0f} × real time per core", sys.stdout)


def print_build(out: Path, manifest: Manifest) -> None:
    """Prints how many pairs were listed, used and rejected, and the size of the set."""
    used = sum(manifest.splits.values())
    splits = ", ".join(f"{split} {count:,}" for split, count in manifest.splits.items())
    print(f"{out}: {manifest.build['num_listed']:,} pairs listed, {used:,} used ({splits})")
    if manifest.rejected:
        reasons = Counter(rejection.reason for rejection in manifest.rejected).most_common()
        words = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
        print(f"{len(manifest.rejected):,} rejected: {words}; listed in {out / REJECTED_NAME}")
    statistics = manifest.statistics
    size = sum(entry.bytes for entry in manifest.shards)
    print(
        f"{statistics['seconds_of_sound'] / 3600:,.2f} hours of sound, {size / max(1, used) / 1000:,.1f} KB per pair; "
        f"{describe_sound(statistics)}"
    )
    if manifest.repeated_images and manifest.repeated_images["pairs"]:
        print(f"same images: {describe_repeated(manifest.repeated_images)}")
    for words in manifest.warnings:
        print(f"warning: {words}")
