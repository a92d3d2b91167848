"""A corpus becomes a shard set: list, plan, estimate, pack in parallel, and write the manifest last."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import UserError
from shards.manifest import MANIFEST_NAME, Manifest
from shards.packing import WORK_FOLDER, ShardRecord, Tally, read_record
from shards.packing_pool import PackingPool, cannot_write
from shards.planning import BuildOptions, BuildPlan, ShardPlan, check_options, describe_differences, make_plan
from shards.progress import ProgressLine
from shards.schema import Rejection
from shards.sources import find_source
from shards.sources.source import Listing, Source, SourceOptions
from shards.writing import PARTIAL_SUFFIX, PREVIEWS_FOLDER, write_text_atomically

REJECTED_NAME = "rejected.csv"
PROBE_ABOVE_PAIRS = 300
PROBED_PAIRS = 8


def build(options: BuildOptions) -> Manifest:
    """Builds a shard set, or goes on with one that was stopped, or finds it finished.

    The bytes depend on the corpus and the options alone: not on the number of workers, nor on being stopped.

    Raises:
        UserError: an option, the corpus or the folder is not usable, too many pairs are rejected, or the disk is full.
    """
    check_options(options)
    source_class = find_source(options.source)
    _check_folder(options.out)
    source = source_class(_source_options(options, source_class))
    source.prepare(options.workers)
    listing = source.list_pairs()
    if options.split_by == "cell":
        listing = source.locate(listing)
    try:
        if _is_finished(options.out):
            return _finished_build(options.out, make_plan(source, listing, options))
        options.out.mkdir(parents=True, exist_ok=True)
        with _only_build_of(options.out):
            return _build_in_folder(source, listing, options)
    except OSError as error:
        raise cannot_write(options.out, error) from error


def _build_in_folder(source: Source, listing: Listing, options: BuildOptions) -> Manifest:
    out = options.out
    check_rejected(out, listing.num_rows, listing.rejected, options.max_rejected)
    plan = make_plan(source, listing, options)
    _go_on_with(plan, out)
    records = _pack_all(source, plan, options)
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


def _check_folder(out: Path) -> None:
    """Refuses a folder that holds anything but a shard set or the beginning of one."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.is_dir() and not _is_finished(out) and not (out / WORK_FOLDER).is_dir() and any(out.iterdir()):
        raise UserError(f"--out {out} is not empty and is no shard set; give a new folder")


def _is_finished(out: Path) -> bool:
    return (out / MANIFEST_NAME).is_file()


@contextmanager
def _only_build_of(out: Path) -> Iterator[None]:
    """Keeps a second build out of the folder; the lock ends with the process, however that ends."""
    (out / WORK_FOLDER).mkdir(exist_ok=True)
    with (out / WORK_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another build is writing to --out {out}; wait for its end or give another --out"
            ) from error
        yield


def _finished_build(out: Path, plan: BuildPlan) -> Manifest:
    manifest = Manifest.load(out)
    _refuse_another_plan(out, manifest.source, manifest.build, plan, "was built")
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
    print(f"{out} is built already, with these options from this corpus: nothing to do")
    return manifest


def _go_on_with(plan: BuildPlan, out: Path) -> None:
    """Keeps the plan in the folder, or refuses to mix two builds; clears what a killed build left half written."""
    path = out / WORK_FOLDER / "plan.json"
    record = {"source": plan.source, "build": plan.record}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        _refuse_another_plan(out, before["source"], before["build"], plan, "was begun")
    write_text_atomically(path, json.dumps(record, indent=1))
    for folder in (out, out / PREVIEWS_FOLDER, out / WORK_FOLDER):
        for partial in folder.glob(f".*{PARTIAL_SUFFIX}"):
            partial.unlink(missing_ok=True)


def _refuse_another_plan(out: Path, source: str, record: dict[str, object], plan: BuildPlan, was: str) -> None:
    before, now = {"source": source, **record}, {"source": plan.source, **plan.record}
    if before != now:
        raise UserError(
            f"--out {out} {was} otherwise: {describe_differences(before, now)}; give a new --out, or remove the folder"
        )


def _pack_all(source: Source, plan: BuildPlan, options: BuildOptions) -> list[ShardRecord]:
    """Packs the shards that aren't finished; returns the records of all in order."""
    out = options.out
    records = {shard.name: record for shard in plan.shards if (record := read_record(out, shard)) is not None}
    to_do = [shard for shard in plan.shards if shard.name not in records]
    num_to_do = sum(len(shard.pairs) for shard in to_do)
    if records:
        print(f"going on: {len(records)} of {len(plan.shards)} shards are finished", flush=True)
    if to_do:
        with_previews = source.has_recordings and options.previews
        num_workers = min(options.workers, len(to_do))
        with PackingPool(source, out, num_workers, with_previews=with_previews) as pool:
            if num_to_do > PROBE_ABOVE_PAIRS:
                _estimate(pool, to_do, num_to_do, num_workers, out)
            with ProgressLine("building shards", plan.num_pairs, done=plan.num_pairs - num_to_do) as progress:
                for record in pool.pack(to_do, progress):
                    records[record.entry.name] = record
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


def check_rejected(out: Path, num_rows: int, rejected: list[Rejection] | tuple[Rejection, ...], most: float) -> None:
    """Writes the list of rejected pairs, and ends the build where they are too many.

    Raises:
        UserError: their share is above `most`.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("key", "reason", "detail"))
    table.writerows((rejection.key, rejection.reason, rejection.detail) for rejection in rejected)
    write_text_atomically(out / REJECTED_NAME, text.getvalue())
    if num_rows and len(rejected) / num_rows > most:
        (reason, count), *_ = Counter(rejection.reason for rejection in rejected).most_common(1)
        share = len(rejected) / num_rows
        raise UserError(
            f"{len(rejected)} of {num_rows} pairs are rejected, {share:.1%}, above --max-rejected {most:g}; "
            f"most often: {reason} ({count}); see {out / REJECTED_NAME}, mend the corpus or allow a larger share"
        )


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
