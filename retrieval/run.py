"""Evaluates and embeds with trained weights: `python retrieval/run.py evaluate|show|embed`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from retrieval.evaluation import EvaluateOptions, evaluate, show
from retrieval.folders import EmbedOptions, embed
from shards.errors import run_command


@dataclass(frozen=True)
class ShowOptions:
    """Prints the table of an evaluation that was written before."""

    out: tyro.conf.Positional[Path]
    """The folder that evaluate wrote to."""


VERBS: dict[str, Callable[..., Any]] = {"evaluate": EvaluateOptions, "show": ShowOptions, "embed": EmbedOptions}


def main() -> None:
    """Reads the command line and carries out its verb."""
    options = tyro.extras.subcommand_cli_from_dict(VERBS, prog="python retrieval/run.py", description=__doc__)
    match options:
        case EvaluateOptions():
            evaluate(options)
        case ShowOptions():
            show(options.out)
        case EmbedOptions():
            embed(options)


if __name__ == "__main__":
    run_command(main)
