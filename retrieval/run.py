"""Evaluation, embedding, explorer and listening study of trained weights: `retrieval/run.py evaluate|show|embed|…`."""

from __future__ import annotations

import sys

from shards.command_line import Verb, Verbs
from shards.errors import run_command

STUDY = Verbs(
    "A listening study: do people mistake sounds found by the model for the true ones?",
    {
        "prepare": Verb("retrieval.study.options:PrepareOptions", "retrieval.study.preparing:prepare"),
        "serve": Verb("retrieval.study.options:ServeOptions", "retrieval.study.serving:serve", positional=True),
        "report": Verb(
            "retrieval.study.options:StudyReportOptions", "retrieval.study.reporting:report", positional=True
        ),
    },
)

COMMAND = Verbs(
    "Evaluation, embedding, explorer and listening study of trained weights.",
    {
        "evaluate": Verb("retrieval.options:EvaluateOptions", "retrieval.evaluation:evaluate"),
        "show": Verb("retrieval.metrics_file:ShowOptions", "retrieval.metrics_file:show", positional=True),
        "split": Verb("retrieval.options:SplitOptions", "retrieval.splits:write_split"),
        "mteb": Verb("retrieval.options:MtebOptions", "retrieval.mteb_command:run_mteb"),
        "embed": Verb("retrieval.options:EmbedOptions", "retrieval.folders:embed"),
        "explore": Verb("retrieval.explore.options:ExploreOptions", "retrieval.explore.command:explore"),
        "study": STUDY,
    },
)

if __name__ == "__main__":
    run_command(lambda: COMMAND.carry_out(sys.argv[1:], "python retrieval/run.py"))
