"""Estimates the time and disk space of a build from a few pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from shards.building.packing import Probe
from shards.building.packing_pool import PackingPool
from shards.building.planning import ShardPlan
from shards.command_line.dry_runs import free_bytes, size_of
from shards.errors import UserError
from shards.loudness import note
from shards.schema import Pair

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
    probe = pool.probe(probed(pairs))
    words = forecast(probe, len(pairs), num_workers, out, of_all=of_all)
    note(f"{prefix}estimate from {PROBED_PAIRS} pairs: {words}")
    check_room(probe, max(of_all, len(pairs)), out)


def probed(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs to probe, evenly spread."""
    return tuple(pairs[len(pairs) * number // PROBED_PAIRS] for number in range(PROBED_PAIRS))


def forecast(probe: Probe, num_pairs: int, num_workers: int, out: Path, *, of_all: int = 0) -> str:
    """Says what packing takes, as a probe of a few pairs makes one expect.

    Args:
        probe: of the pairs.
        num_pairs: pairs that this process packs.
        num_workers: its worker processes.
        out: the shard set, which need not exist.
        of_all: pairs that all processes together pack; they share the disk.
    """
    share = num_pairs / probe.num_pairs
    hours = probe.busy_seconds * share / num_workers / 3600
    needed, free = probe.stored_bytes * max(of_all, num_pairs) / probe.num_pairs, free_bytes(out)
    sound = f" with {probe.used_seconds * share / 3600:,.1f} hours of sound" if probe.used_seconds else ""
    all_parts = f" for the {of_all:,} of all parts" if of_all > num_pairs else ""
    return (
        f"{num_pairs:,} pairs{sound} take about {_duration(hours)} with {num_workers} workers and {size_of(needed)}"
        f"{all_parts} of {size_of(free)} free"
    )


def check_room(probe: Probe, num_pairs: int, out: Path) -> None:
    """Checks that the disk has room for a number of pairs.

    Raises:
        UserError: it is too small.
    """
    needed, free = probe.stored_bytes * num_pairs / probe.num_pairs, free_bytes(out)
    if needed > free:
        raise UserError(
            f"--out {out} has {size_of(free)} free and the shards need about {size_of(needed)}; give a larger disk, a "
            "smaller --max-seconds, a lower --jpeg-quality or --no-previews"
        )


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{math.ceil(hours * 60)} min" if hours * 60 > 2 else f"{math.ceil(hours * 3600)} s"
