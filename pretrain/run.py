"""Pre-trains the two towers: `python pretrain/run.py`, and in several processes `accelerate launch pretrain/run.py`."""

from __future__ import annotations

from shards.loading import Loading

with Loading():
    from pretrain.verbs import PRETRAIN
    from shards.command_line.entry import run_program

if __name__ == "__main__":
    run_program(PRETRAIN, "python pretrain/run.py")
