"""A corpus becomes a shard set: list, plan, estimate, pack in parallel, and write the manifest last."""

from __future__ import annotations

import math
import shutil
import sys
from collections import Counter
from pathlib import Path

from shards.build_folder import (
    check_folder,
    clear_partial_files,
    damaged_shards,
    is_finished,
    keep_plan,
    only_build_of,
    refuse_another_plan,
)
from shards.errors import UserError
from shards.manifest import Manifest
from shards.packing import WORK_FOLDER, ShardRecord, Tally, read_record
from shards.packing_pool import PackingPool, cannot_write
from shards.planning import BuildOptions, BuildPlan, ShardPlan, check_options, idle_options, make_plan
from shards.progress import ProgressLine
from shards.rejected_list import REJECTED_NAME, check_rejected, check_rejected_so_far
from shards.schema import Rejection
from shards.sources import find_source
from shards.sources.source import Listing, Source, SourceOptions
from shards.writing import PREVIEWS_FOLDER

PROBE_ABOVE_PAIRS = 300
PROBED_PAIRS = 8


def build(options: BuildOptions) -> Manifest:
    """Builds a shard set, or goes on with one that was stopped, or finds it finished and packs again what it lost.

    The bytes depend on the corpus and the options alone: not on the number of workers, nor on being stopped.

    Raises:
        UserError: an option, the corpus or the folder is not usable, too many pairs are rejected, or the disk is full.
    """
    check_options(options)
    source_class = find_source(options.source)
    check_folder(options.out)
    for words in idle_options(options, source_class):
        print(f"warning: {words}", file=sys.stderr, flush=True)
    source = source_class(_source_options(options, source_class))
    source.prepare(options.workers)
    listing = source.list_pairs()
    if options.split_by == "cell":
        listing = source.locate(listing)
    try:
        if is_finished(options.out):
            return _finished_build(source, make_plan(source, listing, options), options)
        options.out.mkdir(parents=True, exist_ok=True)
        with only_build_of(options.out):
            return _build_in_folder(source, listing, options)
    except OSError as error:
        raise cannot_write(options.out, error) from error


def _build_in_folder(source: Source, listing: Listing, options: BuildOptions) -> Manifest:
    out = options.out
    check_rejected(out, listing.num_rows, listing.rejected, options.max_rejected)
    plan = make_plan(source, listing, options)
    keep_plan(plan, out)
    clear_partial_files(out)
    records = _pack_all(source, listing, plan, options)
    rejected = [*listing.rejected, *(rejection for record in records for rejection in record.rejected)]
    check_rejected(out, listing.num_rows, rejected, options.max_rejected)
    manifest = _make_manifest(source, plan, records, rejected)
    if not manifest.num_samples("train"):
        raise UserError(
            f"no pair for training is left: all were rejected; their reasons stand in {out / REJECTED_NAME}"
        )
    manifest.save(out)
    shutil.rmtree(out / WORK_FOLDER)
    return manifest


def _source_options(options: BuildOptions, source_class: type[Source]) -> SourceOptions:
    root = options.root or source_class.default_root
    if root is None:
        raise UserError(f"--source {options.source} needs --root with the folder of the corpus")
    return SourceOptions(
        root=root,
        limit=options.limit,
        max_seconds=options.max_seconds,
        jpeg_quality=options.jpeg_quality,
        bands=options.bands,
        previews=options.previews,
        places=options.places,
        seed=options.seed,
    )


def _finished_build(source: Source, plan: BuildPlan, options: BuildOptions) -> Manifest:
    out = options.out
    manifest = Manifest.load(out)
    refuse_another_plan(out, manifest.source, manifest.build, plan, "was built")
    damaged = damaged_shards(out, manifest)
    if damaged:
        print(f"{out} was built, but {', '.join(f'{name} {words}' for name, words in damaged.items())}", flush=True)
        with only_build_of(out):
            clear_partial_files(out)
            _pack_again([shard for shard in plan.shards if shard.name in damaged], source, manifest, options)
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
    ending = f"{len(damaged)} of its shards packed again" if damaged else "nothing to do"
    print(f"{out} is built already, with these options from this corpus: {ending}")
    return manifest


def _pack_again(shards: list[ShardPlan], source: Source, manifest: Manifest, options: BuildOptions) -> None:
    """Packs shards of a finished set that were lost; they are those of the manifest, or the set is refused."""
    out = options.out
    entries = {entry.name: entry for entry in manifest.shards}
    with_previews = source.has_recordings and options.previews and (out / PREVIEWS_FOLDER).is_dir()
    num_pairs = sum(len(shard.pairs) for shard in shards)
    with (
        PackingPool(source, out, min(options.workers, len(shards)), with_previews=with_previews) as pool,
        ProgressLine("packing lost shards again", num_pairs) as progress,
    ):
        for record in pool.pack(shards, progress):
            if record.entry != entries[record.entry.name]:
                (out / record.entry.name).unlink()
                raise UserError(
                    f"{record.entry.name} was packed again and came out otherwise than {out} was built, by other files "
                    "or versions of the decoders; copy it from where the set is whole, or remove the folder and build "
                    "it anew"
                )


def _pack_all(source: Source, listing: Listing, plan: BuildPlan, options: BuildOptions) -> list[ShardRecord]:
    """Packs the shards that aren't finished; returns the records of all in order."""
    out = options.out

    def judge() -> None:
        finished = (records[shard.name] for shard in plan.shards if shard.name in records)
        rejected = [*listing.rejected, *(rejection for record in finished for rejection in record.rejected)]
        check_rejected_so_far(out, listing.num_rows, rejected, options.max_rejected)

    records = {shard.name: record for shard in plan.shards if (record := read_record(out, shard)) is not None}
    to_do = [shard for shard in plan.shards if shard.name not in records]
    num_to_do = sum(len(shard.pairs) for shard in to_do)
    if records:
        print(f"going on: {len(records)} of {len(plan.shards)} shards are finished", flush=True)
    if to_do:
        judge()
        with_previews = source.has_recordings and options.previews
        num_workers = min(options.workers, len(to_do))
        with PackingPool(source, out, num_workers, with_previews=with_previews) as pool:
            if num_to_do > PROBE_ABOVE_PAIRS:
                _estimate(pool, to_do, num_to_do, num_workers, out)
            with ProgressLine("building shards", plan.num_pairs, done=plan.num_pairs - num_to_do) as progress:
                for record in pool.pack(to_do, progress):
                    records[record.entry.name] = record
                    if len(records) < len(plan.shards):
                        judge()
        if pool.used_seconds:
            speed = pool.used_seconds / pool.busy_seconds
            print(f"read {pool.used_seconds / 3600:.2f} hours of sound at {speed:.0f} × real time per core")
    return [records[shard.name] for shard in plan.shards]


def _estimate(pool: PackingPool, to_do: list[ShardPlan], num_pairs: int, num_workers: int, out: Path) -> None:
    """Reads a few pairs from all over, prints what the build will take, and refuses what the disk can't hold."""
    pairs = [pair for shard in to_do for pair in shard.pairs]
    probe = pool.probe(tuple(pairs[len(pairs) * number // PROBED_PAIRS] for number in range(PROBED_PAIRS)))
    share = num_pairs / probe.num_pairs
    hours = probe.busy_seconds * share / num_workers / 3600
    needed, free = probe.stored_bytes * share, shutil.disk_usage(out).free
    sound = f" with {probe.used_seconds * share / 3600:,.1f} hours of sound" if probe.used_seconds else ""
    print(
        f"estimate from {probe.num_pairs} pairs: {num_pairs:,} pairs{sound} take about {_duration(hours)} with "
        f"{num_workers} workers and {_size(needed)} of {_size(free)} free",
        file=sys.stderr,
        flush=True,
    )
    if needed > free:
        raise UserError(
            f"--out {out} has {_size(free)} free and the shards need about {_size(needed)}; give a larger disk, a "
            "smaller --max-seconds, a lower --jpeg-quality or --no-previews"
        )


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{math.ceil(hours * 60)} min" if hours * 60 > 2 else f"{math.ceil(hours * 3600)} s"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def _make_manifest(source: Source, plan: BuildPlan, records: list[ShardRecord], rejected: list[Rejection]) -> Manifest:
    everything, training = Tally(), Tally()
    for record in records:
        everything.merge(record.tally)
        if record.entry.split == "train":
            training.merge(record.tally)
    mean = training.sum_of_bytes / max(1, training.num_bytes)
    # The variance from whole numbers, so that nothing is lost before the one division.
    spread = training.num_bytes * training.sum_of_squares - training.sum_of_bytes**2
    statistics = {
        "spectrogram_mean": mean,
        "spectrogram_std": math.sqrt(spread) / max(1, training.num_bytes),
        "seconds_of_sound": round(everything.seconds_of_sound, 3),
        "silent": everything.silent,
        "repeated_to_length": everything.repeated_to_length,
        "shortened": everything.shortened,
    }
    entries = tuple(record.entry for record in records)
    return Manifest(plan.source, plan.record, source.settings, statistics, entries, tuple(rejected))


def print_build(out: Path, manifest: Manifest) -> None:
    """Prints what was listed, used and rejected, and what it takes."""
    used = sum(manifest.splits.values())
    splits = ", ".join(f"{split} {count:,}" for split, count in manifest.splits.items())
    print(f"{out}: {manifest.build['num_listed']:,} pairs listed, {used:,} used ({splits})")
    if manifest.rejected:
        reasons = Counter(rejection.reason for rejection in manifest.rejected).most_common()
        words = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
        print(f"{len(manifest.rejected):,} rejected: {words}; each one stands in {out / REJECTED_NAME}")
    statistics = manifest.statistics
    size = sum(entry.bytes for entry in manifest.shards)
    print(
        f"{statistics['seconds_of_sound'] / 3600:,.2f} hours of sound, {size / max(1, used) / 1000:,.1f} KB a pair; "
        f"{statistics['silent']} silent, {statistics['repeated_to_length']} repeated to length, "
        f"{statistics['shortened']} shortened"
    )
