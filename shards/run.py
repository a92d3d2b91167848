"""Collects, builds, adopts, verifies, describes and exports shard sets: `python shards/run.py VERB`."""

from __future__ import annotations

from shards.loading import Loading

with Loading():
    from shards.command_line.entry import run_program
    from shards.verbs import SHARDS

if __name__ == "__main__":
    run_program(SHARDS, "python shards/run.py")
