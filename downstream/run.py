"""Evaluates trained weights on downstream tasks: `python downstream/run.py --help`."""

from __future__ import annotations

from shards.loading import Loading

with Loading():
    from downstream.verbs import DOWNSTREAM
    from shards.command_line.entry import run_program

if __name__ == "__main__":
    run_program(DOWNSTREAM, "python downstream/run.py")
