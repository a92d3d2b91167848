"""Finishes a build: the last process merges the records of all shards into rejected.csv and manifest.json."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from shards.building.describing import small_splits
from shards.building.folder import begun_parts, clear_partial_files, look_afresh
from shards.building.packing import ShardRecord, Tally, read_record
from shards.building.parts import Part
from shards.building.planning import BuildPlan, ShardPlan
from shards.building.rejected_list import REJECTED_NAME, TooManyRejectedError, check_rejected
from shards.building.repeated_images import count_repeated
from shards.decoding.image_hash import ImageHash
from shards.manifest import Manifest
from shards.schema import Rejection
from shards.sources.source import Listing, Source

_MOST_NAMED = 6


def read_records(out: Path, shards: Sequence[ShardPlan]) -> dict[str, ShardRecord]:
    """The records of the finished shards in the folder, by name."""
    return {shard.name: record for shard in shards if (record := read_record(out, shard)) is not None}


def finish(source: Source, listing: Listing, plan: BuildPlan, out: Path, max_rejected: float) -> Manifest | None:
    """Writes rejected.csv and manifest.json if all shards are packed.

    Several processes may call this at once: writes are atomic, and all write the same bytes.

    Returns:
        The manifest; None if shards are missing, or if another process has already finished the set.

    Raises:
        TooManyRejectedError: too many pairs are rejected, or none is left for training.
        FileNotFoundError: another process finished the set in the meantime and removed this process's partial files.
    """
    look_afresh(out)
    records = read_records(out, plan.shards)
    if len(records) < len(plan.shards):
        return None
    in_order = [records[shard.name] for shard in plan.shards]
    rejected = [*listing.rejected, *(rejection for record in in_order for rejection in record.rejected)]
    check_rejected(out, listing.num_rows, rejected, max_rejected)
    manifest = _make_manifest(source, plan, in_order, rejected)
    if not manifest.num_samples("train"):
        raise TooManyRejectedError(
            f"no training pairs are left: all were rejected; for the reasons see {out / REJECTED_NAME}"
        )
    manifest.save(out)
    clear_partial_files(out)
    return manifest


def describe_missing(plan: BuildPlan, out: Path) -> str:
    """Names the missing shards and the parts they belong to; empty if none is missing."""
    records = read_records(out, plan.shards)
    missing = [shard.name for shard in plan.shards if shard.name not in records]
    if not missing:
        return ""
    words = f"{len(missing)} of {len(plan.shards)} shards are missing ({_few(missing)})"
    count = begun_parts(out)
    if count is None:
        return words
    waited_for = [
        str(number)
        for number in range(1, count + 1)
        if any(shard.name not in records for shard in Part(number, count).of(plan.shards))
    ]
    return f"{words} of part{'s' if len(waited_for) > 1 else ''} {_few(waited_for)} of {count}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _make_manifest(source: Source, plan: BuildPlan, records: list[ShardRecord], rejected: list[Rejection]) -> Manifest:
    everything, training = Tally(), Tally()
    for record in records:
        everything.merge(record.tally)
        if record.entry.split == "train":
            training.merge(record.tally)
    mean = training.sum_of_bytes / max(1, training.num_bytes)
    # Integer arithmetic keeps the variance exact up to the final division.
    spread = training.num_bytes * training.sum_of_squares - training.sum_of_bytes**2
    statistics = {
        "spectrogram_mean": mean,
        "spectrogram_std": math.sqrt(spread) / max(1, training.num_bytes),
        "seconds_of_sound": round(everything.seconds_of_sound, 3),
        "silent": everything.silent,
        "repeated_to_length": everything.repeated_to_length,
        "shortened": everything.shortened,
    }
    if source.has_recordings:
        statistics |= {
            "clipped": everything.clipped,
            "clipped_share": round(everything.clipped_samples / max(1, everything.sound_samples), 6),
            "silent_share": round(everything.silent_seconds / max(1e-9, everything.seconds_of_sound), 6),
            "opposite_phase": everything.opposite_phase,
            "one_of_many_channels": everything.one_of_many_channels,
            "integer_scale": everything.integer_scale,
        }
    entries = tuple(record.entry for record in records)
    hashes = [
        (record.entry.split, key, ImageHash.from_text(text))
        for record in records
        for key, text in record.images.items()
    ]
    rasters = source.options.rasters
    manifest = Manifest(plan.source, plan.record, source.settings, statistics, entries, tuple(rejected), rasters)
    return dataclasses.replace(
        manifest,
        warnings=tuple(small_splits(manifest.splits)),
        repeated_images=count_repeated(hashes),
        licence=source.licence,
    )
