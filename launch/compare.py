"""Compares pre-training methods according to a plan: `python launch/compare.py --help`."""

from __future__ import annotations

from shards.loading import Loading

with Loading():
    from launch.comparison.verbs import COMPARE
    from shards.command_line.entry import run_program

if __name__ == "__main__":
    run_program(COMPARE, "python launch/compare.py")
