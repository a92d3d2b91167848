"""Results of a comparison's rows beside the published tables of their benchmarks, as the downstream report has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from downstream.reporting.formats import comma_separated, markdown, page
from downstream.reporting.rows import PUBLISHED, rows_of_runs
from downstream.reporting.runs import Run
from downstream.reporting.tables import Table, build_tables
from downstream.results import RESULTS_NAME, Results
from launch.comparison.outcomes import RETRIEVAL, Job, PlannedRow

NAMES = ("published_tables.md", "published_tables.csv", "published_tables.html")

OF_THE_PAPER = {
    "random": "Random",
    "imagenet": "ImageNet",
    "tile2vec": "Tile2Vec",
    "image-contrastive": "Contrastive",
    "simclr": "SimCLR",
    "moco": "MoCo",
    "batch-triplet": "SoundingEarth",
}
"""Labels of methods in `launch/plans/paper.yaml` → names of weights in SoundingEarth's Tables II to VI."""


def published_tables(rows: Sequence[PlannedRow]) -> list[Table]:
    """The tables of those benchmarks that have published figures; seeds of one method and backbone share a line."""
    runs = [
        Run(job.folder, _named(Results.read(job.folder), row, job))
        for row in rows
        for job in row.benchmarks
        if job.benchmark != RETRIEVAL and (job.folder / RESULTS_NAME).is_file()
    ]
    tables = build_tables(rows_of_runs(runs))
    return [table for table in tables if any(row.origin == PUBLISHED for row in table.rows)]


def texts_of(tables: Sequence[Table]) -> dict[str, str]:
    """The tables as Markdown, CSV and HTML, by file name."""
    return dict(zip(NAMES, (markdown(tables), comma_separated(tables), page(tables)), strict=True))


def _named(results: Results, row: PlannedRow, job: Job) -> Results:
    """The results under the name of their method; weights of other seeds are of the same method."""
    name = row.method
    if (theirs := OF_THE_PAPER.get(name)) is not None:
        name = theirs if theirs.lower() == name else f"{theirs} ({name})"
    label = "" if job.label == job.benchmark else f", {job.label}"
    return replace(results, weights=f"{name}{label}", weights_sha256=None, seed=row.seed)
