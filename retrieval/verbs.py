"""The verbs of retrieval: evaluate, show, split, mteb, embed, explore, study."""

from __future__ import annotations

from shards.command_line.verbs import Verb, Verbs

_OPTIONS, _STUDY, _DRY_RUN = "retrieval.options", "retrieval.study.options", "retrieval.dry_run"

STUDY = Verbs(
    "A listening study: do people mistake sounds found by the model for the true ones?",
    {
        "prepare": Verb(
            f"{_STUDY}:PrepareOptions",
            "retrieval.study.preparing:prepare",
            dry_run="retrieval.study.dry_run:dry_run_prepare",
        ),
        "serve": Verb(f"{_STUDY}:ServeOptions", "retrieval.study.serving:serve", positional=True),
        "report": Verb(f"{_STUDY}:StudyReportOptions", "retrieval.study.reporting:report", positional=True),
    },
)

RETRIEVAL = Verbs(
    "Evaluation, embedding, explorer and listening study of trained weights.",
    {
        "evaluate": Verb(
            f"{_OPTIONS}:EvaluateOptions", "retrieval.evaluation:evaluate", dry_run=f"{_DRY_RUN}:dry_run_evaluate"
        ),
        "show": Verb("retrieval.metrics_file:ShowOptions", "retrieval.metrics_file:show", positional=True),
        "split": Verb(
            f"{_OPTIONS}:SplitOptions", "retrieval.splits:write_split", dry_run="retrieval.splits:dry_run_split"
        ),
        "mteb": Verb(
            f"{_OPTIONS}:MtebOptions", "retrieval.mteb_command:run_mteb", dry_run="retrieval.mteb_command:dry_run_mteb"
        ),
        "embed": Verb(f"{_OPTIONS}:EmbedOptions", "retrieval.folders:embed", dry_run=f"{_DRY_RUN}:dry_run_embed"),
        "explore": Verb(
            "retrieval.explore.options:ExploreOptions",
            "retrieval.explore.command:explore",
            dry_run="retrieval.explore.dry_run:dry_run_explore",
        ),
        "study": STUDY,
    },
)
