"""Evaluates and embeds with trained weights: `python retrieval/run.py evaluate|embed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tyro

from retrieval.evaluation import EvaluateOptions, evaluate
from retrieval.folders import EmbedOptions, embed
from shards.errors import run_command

VERBS: dict[str, Callable[..., Any]] = {"evaluate": EvaluateOptions, "embed": EmbedOptions}


def main() -> None:
    """Reads the command line and carries out its verb."""
    options = tyro.extras.subcommand_cli_from_dict(VERBS, prog="python retrieval/run.py", description=__doc__)
    match options:
        case EvaluateOptions():
            evaluate(options)
        case EmbedOptions():
            embed(options)


if __name__ == "__main__":
    run_command(main)
