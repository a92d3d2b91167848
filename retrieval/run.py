"""Evaluation, embedding, explorer and listening study of trained weights: `retrieval/run.py evaluate|show|embed|…`."""

from __future__ import annotations

from shards.loading import Loading

with Loading():
    from retrieval.verbs import RETRIEVAL
    from shards.command_line.entry import run_program

if __name__ == "__main__":
    run_program(RETRIEVAL, "python retrieval/run.py")
