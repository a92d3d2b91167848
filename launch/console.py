"""The console command `earshot`: the verbs of all packages in one table, from any folder."""

from __future__ import annotations

import multiprocessing

from downstream.verbs import DOWNSTREAM, REPORT
from launch.comparison.verbs import COMPARE
from pretrain.verbs import PRETRAIN
from retrieval.verbs import RETRIEVAL
from shards.command_line.entry import run_program
from shards.command_line.verbs import Verb, Verbs
from shards.verbs import SHARDS

NAME = "earshot"

CONSOLE = Verbs(
    "Self-supervised audiovisual pre-training for remote sensing: what a place looks like and sounds like.",
    {
        **SHARDS.verbs,
        "pretrain": PRETRAIN,
        "release": PRETRAIN.verbs["release"],
        "demo-weights": PRETRAIN.verbs["demo-weights"],
        "convert": PRETRAIN.verbs["convert"],
        **RETRIEVAL.verbs,
        "show": Verb("launch.showing:ShowAnyOptions", "launch.showing:show_any", positional=True),
        "downstream": DOWNSTREAM,
        "report": REPORT,
        "compare": COMPARE,
        "completion": Verb(
            "launch.completion.options:CompletionOptions", "launch.completion.scripts:print_script", positional=True
        ),
    },
    sections={
        "Shard sets": ("collect", "build", "adopt", "verify", "info", "export"),
        "Pre-training": ("pretrain", "release", "demo-weights", "convert"),
        "Retrieval": ("evaluate", "show", "embed", "explore", "study", "split", "mteb"),
        "Benchmarks and comparisons": ("downstream", "report", "compare"),
        "The command itself": ("completion",),
    },
)
"""The same code as the run.py scripts, by verb."""


def main() -> None:
    """Runs the command line of this process; in a process that it started, nothing.

    Such a process runs the program that was started once more, which may lack a guard for that.
    """
    if multiprocessing.parent_process() is not None:
        return
    run_program(CONSOLE, NAME)
