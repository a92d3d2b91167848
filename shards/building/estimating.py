"""Estimates the time and disk space of a build from a few pairs."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

from shards.building.packing_pool import PackingPool
from shards.building.planning import ShardPlan
from shards.errors import UserError

PROBED_PAIRS = 8


def estimate(
    pool: PackingPool, to_do: list[ShardPlan], of_all: int, num_workers: int, out: Path, *, prefix: str = ""
) -> None:
    """Reads a few evenly spread pairs, prints the estimate, and raises if the disk is too small.

    Args:
        pool: reads the pairs.
        to_do: the shards that this process still has to pack.
        of_all: pairs that all processes together still have to pack; they share the disk.
        num_workers: processes of the pool.
        out: the shard set.
        prefix: prefix of the printed line.

    Raises:
        UserError: the disk is too small for the shards.
    """
    pairs = [pair for shard in to_do for pair in shard.pairs]
    probe = pool.probe(tuple(pairs[len(pairs) * number // PROBED_PAIRS] for number in range(PROBED_PAIRS)))
    share = len(pairs) / probe.num_pairs
    hours = probe.busy_seconds * share / num_workers / 3600
    needed, free = probe.stored_bytes * of_all / probe.num_pairs, shutil.disk_usage(out).free
    sound = f" with {probe.used_seconds * share / 3600:,.1f} hours of sound" if probe.used_seconds else ""
    all_parts = f" for the {of_all:,} of all parts" if of_all > len(pairs) else ""
    print(
        f"{prefix}estimate from {probe.num_pairs} pairs: {len(pairs):,} pairs{sound} take about "
        f"{_duration(hours)} with {num_workers} workers and {_size(needed)}{all_parts} of {_size(free)} free",
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
