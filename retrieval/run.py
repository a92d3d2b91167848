"""Evaluates, embeds and explores with trained weights, and asks people: `retrieval/run.py evaluate|show|embed|…`."""

from __future__ import annotations

from shards.errors import run_command


def main() -> None:
    """Reads the command line and carries out its verb."""
    # Here, for it takes seconds, and whoever interrupts them is answered like any other.
    from retrieval.command_line import carry_out

    carry_out(__doc__ or "")


if __name__ == "__main__":
    run_command(main)
