"""What `retrieval/run.py` understands: its verbs, the options of each, and what carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from retrieval.evaluation import EvaluateOptions, evaluate, show
from retrieval.explore.command import ExploreOptions, explore
from retrieval.folders import EmbedOptions, embed
from retrieval.study.preparing import PrepareOptions, prepare
from retrieval.study.reporting import StudyReportOptions, report
from retrieval.study.serving import ServeOptions, serve


@dataclass(frozen=True)
class ShowOptions:
    """Prints the table of an evaluation that was written before."""

    out: tyro.conf.Positional[Path]
    """The folder that evaluate wrote to."""


@dataclass(frozen=True)
class StudyOptions:
    """A listening study: do people take the sounds that the model finds for the true ones?"""

    verb: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[PrepareOptions, tyro.conf.subcommand("prepare")]
            | Annotated[ServeOptions, tyro.conf.subcommand("serve"), tyro.conf.PositionalRequiredArgs]
            | Annotated[StudyReportOptions, tyro.conf.subcommand("report"), tyro.conf.PositionalRequiredArgs]
        ]
    ]


VERBS: dict[str, Callable[..., Any]] = {
    "evaluate": EvaluateOptions,
    "show": ShowOptions,
    "embed": EmbedOptions,
    "explore": ExploreOptions,
    "study": StudyOptions,
}


def carry_out(description: str) -> None:
    """Reads the command line and carries out its verb; `description` is what `--help` says of the command."""
    options = tyro.extras.subcommand_cli_from_dict(VERBS, prog="python retrieval/run.py", description=description)
    match options:
        case EvaluateOptions():
            evaluate(options)
        case ShowOptions():
            show(options.out)
        case EmbedOptions():
            embed(options)
        case ExploreOptions():
            explore(options)
        case StudyOptions(verb=PrepareOptions() as study):
            prepare(study)
        case StudyOptions(verb=ServeOptions() as study):
            serve(study)
        case StudyOptions(verb=StudyReportOptions() as study):
            report(study)
